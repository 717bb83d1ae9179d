// What the node says about itself, asked again every few seconds, and drawn.
//
// Text goes into the page as text (textContent, createElement) and never as markup. The token, if
// the node asks for one, is in this tab's sessionStorage and in the Authorization header.

const POLL_SECONDS = 2;
const SLOWEST_POLL_SECONDS = 30;
const ANSWER_SECONDS = 15;
const SHOWN_ROUNDS = 25;
const HASH_DIGITS = 12;
const TOKEN = "secagg-token";
const SVG = "http://www.w3.org/2000/svg";

const STEPS = [
  ["advertised", "Keys"],
  ["shared", "Shares"],
  ["masked", "Masking"],
  ["confirmed", "Consistency"],
  ["answered", "Unmasking"],
  ["sum signed", "Certificate"],
];

const STATES = {
  ready: "A batch is offered. The next round opens when enough hospitals have one.",
  advertised: "Keys are exchanged with the other hospitals.",
  shared: "Shares of this round's secrets are with the other hospitals.",
  masked: "The masked vector is sent. Waiting for the others.",
  confirmed: "The survivors are agreed on and signed.",
  answered: "The sum can be unmasked. Waiting for it.",
  "sum signed": "The new model is computed and signed. Waiting for the others' signatures.",
  withdrawn: "This node has left the attempt, since a message of another hospital was not right.",
  "awaiting the end of the round": "This node's part is done. The round is not closed yet.",
  "no batch waits": "No batch waits. The next one that is posted enters the next round.",
  "batch unusable": "The batch that waits cannot be used.",
  "attempts exhausted": "Too many attempts were charged without a result.",
  "budget exhausted": "The privacy budget does not allow another attempt.",
  disputed: "The certified model is not the one that this node has computed.",
  "has left": "This hospital has left the rounds. It still checks and signs what others compute.",
};

const UNCONNECTED =
  "The server is out of reach: the node tries again by itself, and its log says why.";

const STATUS_TONES = {
  certified: "good", "in progress": "good", queued: "quiet", missed: "warn", abandoned: "bad",
};

const $ = (id) => document.getElementById(id);

const view = {
  known: new Map(), // what was drawn last, by part, as JSON
  history: [],
  budget: null,
  chosen: null, // index into history; null: the newest
  shownRounds: SHOWN_ROUNDS,
  failures: 0,
  timer: null,
  asking: false,
  lastAnswer: null,
};

// --- asking the node -------------------------------------------------------------------------------

class Unauthorized extends Error {}

async function ask(path) {
  const token = sessionStorage.getItem(TOKEN);
  const response = await fetch(path, {
    headers: token ? { Authorization: `Bearer ${token}` } : {},
    cache: "no-store",
    credentials: "omit",
    redirect: "error",
    signal: AbortSignal.timeout(ANSWER_SECONDS * 1000),
  });
  if (response.status === 401) throw new Unauthorized();
  if (!response.ok) throw new Error(`${path} was answered with ${response.status}`);
  return response;
}

async function refresh() {
  if (view.asking) return;
  clearTimeout(view.timer);
  view.asking = true;
  try {
    const paths = ["/status", "/privacy-budget", "/rounds", "/audit/head"];
    const answers = await Promise.all(paths.map(async (path) => (await ask(path)).json()));
    view.failures = 0;
    view.lastAnswer = new Date();
    show(...answers);
    plan();
  } catch (error) {
    if (error instanceof Unauthorized) {
      askForToken();
    } else {
      view.failures += 1;
      showUnreachable();
      plan();
    }
  } finally {
    view.asking = false;
  }
}

function plan() {
  if (document.hidden) return;
  const pause = Math.min(POLL_SECONDS * 2 ** view.failures, SLOWEST_POLL_SECONDS);
  view.timer = setTimeout(refresh, pause * 1000);
}

// --- the token -------------------------------------------------------------------------------------

/** What only an open node serves to a link: a link shows no token. */
function showReferences(open) {
  for (const link of document.querySelectorAll(".reference")) link.hidden = !open;
}

function askForToken() {
  showReferences(false);
  $("refused").hidden = sessionStorage.getItem(TOKEN) === null;
  sessionStorage.removeItem(TOKEN);
  $("panels").hidden = $("forget").hidden = $("unreachable").hidden = true;
  view.known.clear();
  $("name").textContent = "secagg";
  document.title = "secagg node";
  pill("Locked", "quiet");
  if ($("sign-in").hidden) {
    $("sign-in").hidden = false;
    $("token").focus();
  }
}

$("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  // Only what a header may hold; a token has nothing else in it.
  sessionStorage.setItem(TOKEN, $("token").value.replace(/[^\x21-\x7e]/g, ""));
  $("token").value = "";
  refresh();
});

$("forget").addEventListener("click", () => {
  sessionStorage.removeItem(TOKEN);
  clearTimeout(view.timer);
  refresh();
});

// --- small parts -----------------------------------------------------------------------------------

function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key in made) made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

function drawn(name, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function written(x, y, anchor, text, className = "") {
  return drawn("text", { x, y, "text-anchor": anchor, class: className }, text);
}

function pill(text, tone) {
  $("connection").textContent = text;
  $("connection").dataset.tone = tone;
}

function facts(list, entries) {
  list.replaceChildren(
    ...entries.flatMap(([term, value]) => [element("dt", {}, term), element("dd", {}, value)]),
  );
}

function iconButton(label, path, action) {
  const picture = drawn("svg", { viewBox: "0 0 16 16", "aria-hidden": "true" }, drawn("path", { d: path }));
  const button = element("button", { type: "button", className: "icon", title: label }, picture);
  button.setAttribute("aria-label", label);
  button.addEventListener("click", () => action(button));
  return button;
}

function announce(text) {
  $("announced").textContent = text;
}

function hashed(value, digits = HASH_DIGITS, downloads = false) {
  const shown = value.length > digits ? `${value.slice(0, digits)}…` : value;
  const copy = iconButton(`Copy ${shown}`, "M5.5 5.5V3h7.5v7.5h-2.5M3 5.5h7.5V13H3z", async (button) => {
    const copied = await copyText(value);
    announce(copied ? "Copied" : "This browser does not allow copying");
    if (copied) {
      button.dataset.done = "";
      setTimeout(() => delete button.dataset.done, 1500);
    }
  });
  const save = downloads
    ? iconButton(`Download the model ${shown}`, "M8 2.5v7.5m-3-3 3 3 3-3M3 13h10", () => download(value))
    : null;
  const className = digits > HASH_DIGITS ? "hash long" : "hash";
  return element(
    "span", { className: "hashed" },
    element("span", { className, title: value }, shown), copy, save,
  );
}

async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}

async function download(modelHash) {
  try {
    const content = await (await ask(`/models/${modelHash}`)).blob();
    const address = URL.createObjectURL(content);
    element("a", { href: address, download: `${modelHash}.safetensors` }).click();
    setTimeout(() => URL.revokeObjectURL(address), 60_000);
  } catch {
    announce("This model is not kept here any more. The number kept is keep in [models] of party.toml.");
  }
}

const none = () => element("span", { className: "none" }, "–");
const epsilon = (value) => (value === 0 ? "0" : Number(value.toPrecision(3)).toString());
const count = (number, one, many) => `${number.toLocaleString()} ${number === 1 ? one : many}`;

function moment(text) {
  const then = new Date(text);
  const today = then.toDateString() === new Date().toDateString();
  const shown = then.toLocaleString(undefined, today
    ? { hour: "2-digit", minute: "2-digit", second: "2-digit" }
    : { year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });
  return element("time", { dateTime: text, title: then.toString() }, shown);
}

function bytes(number) {
  const units = ["B", "kB", "MB", "GB"];
  const power = Math.min(Math.floor(Math.log10(Math.max(number, 1)) / 3), units.length - 1);
  const value = number / 1000 ** power;
  return `${power && value < 10 ? value.toFixed(1) : Math.round(value)} ${units[power]}`;
}

function seconds(number) {
  if (number < 10) return `${number.toFixed(1)} s`;
  if (number < 120) return `${Math.round(number)} s`;
  return number < 7200 ? `${Math.round(number / 60)} min` : `${Math.round(number / 3600)} h`;
}

// --- drawing what the node says ----------------------------------------------------------------------

/** Draw a part of the page, unless it is there already: nobody loses focus or a selection. */
function part(name, data, draw) {
  const text = JSON.stringify(data);
  if (view.known.get(name) === text) return;
  draw();
  view.known.set(name, text);
}

function show(status, budget, rounds, head) {
  $("sign-in").hidden = $("unreachable").hidden = true;
  $("panels").hidden = false;
  const open = sessionStorage.getItem(TOKEN) === null;
  $("forget").hidden = open;
  showReferences(open);
  $("updated").textContent = `Updated ${view.lastAnswer.toLocaleTimeString()}`;
  document.title = `${status.name} · secagg node`;
  $("name").textContent = status.name;
  pill(status.connected ? "Connected to the server" : "Not connected to the server",
    status.connected ? "good" : "bad");
  part("problem", status.problem, () => {
    $("problem").hidden = status.problem === null;
    $("problem-text").textContent = status.problem ?? "";
  });
  const waiting = rounds.filter((each) => each.status === "queued").length;
  part("now", [status, waiting], () => showNow(status, waiting));
  part("budget", budget, () => showBudget(budget));
  part("rounds", [rounds, status.rounds, view.shownRounds], () => showRounds(rounds, status.rounds));
  part("audit", head, () => showAudit(head));
}

function showUnreachable() {
  const since = view.lastAnswer
    ? ` What is shown here was so at ${view.lastAnswer.toLocaleTimeString()}.`
    : "";
  $("unreachable").textContent =
    `The node does not answer. See whether its process runs, and its log.${since}`;
  $("unreachable").hidden = false;
  pill("No answer", "bad");
}

function showNow(status, waiting) {
  const step = STEPS.findIndex(([state]) => state === status.state);
  const inRound = step >= 0 || status.state === "withdrawn";
  $("now-round").replaceChildren(
    inRound ? `Round ${status.round}` : status.round ? `Round ${status.round} ` : "No round yet",
    !inRound && status.round ? element("small", {}, "closed") : "",
  );
  const state = STATES[status.state] ?? status.state;
  $("now-state").textContent = status.connected ? state : `${state} ${UNCONNECTED}`;
  $("steps").setAttribute("aria-hidden", String(!inRound)); // shown all the same: nothing jumps
  $("steps").replaceChildren(...STEPS.map(([, label], index) => {
    const item = element("li", {}, label);
    item.dataset.step = index < step ? "done" : index === step ? "now" : "later";
    if (index === step) item.setAttribute("aria-current", "step");
    return item;
  }));
  const { federated, local_only: alone } = status.accuracy;
  const entries = [
    ["Model held", hashed(status.model_hash)],
    ["Certified rounds", status.rounds.length.toLocaleString()],
    ["Rounds with a waiting batch", waiting.toLocaleString()],
  ];
  if (federated !== null) entries.push(["Accuracy on own test records", `${(100 * federated).toFixed(1)} %`]);
  if (alone !== null) entries.push(["Trained alone, it would be", `${(100 * alone).toFixed(1)} %`]);
  facts($("now-facts"), entries);
}

function showBudget(budget) {
  view.budget = budget;
  view.history = budget.history;
  if (view.chosen !== null && view.chosen >= view.history.length) view.chosen = null;
  const limited = budget.epsilon_total !== null;
  $("budget-warning").hidden = budget.warning === null;
  $("budget-warning").textContent = budget.warning ?? "";
  $("meter").hidden = $("budget-facts").hidden = $("spending").hidden = !limited;
  if (!limited) {
    $("budget-left").textContent = "Not bounded";
    $("budget-lead").textContent = "";
    return;
  }
  const left = Math.max(0, 100 - budget.percentage_used);
  const tone = budget.affordable_attempts === 0 ? "bad" : left < 20 ? "warn" : "good";
  $("budget-left").replaceChildren(
    `${left < 9.95 && left > 0 ? left.toFixed(1) : Math.round(left)} % `,
    element("small", {}, "left"),
  );
  $("budget-lead").textContent =
    `ε ${epsilon(budget.epsilon_used)} of ${epsilon(budget.epsilon_total)} is spent`;
  const width = Math.min(100, budget.percentage_used);
  $("meter").dataset.tone = tone;
  $("meter").setAttribute("aria-valuenow", Math.round(budget.percentage_used));
  $("meter").setAttribute("aria-valuetext", `${Math.round(budget.percentage_used)} % of epsilon spent`);
  $("meter").replaceChildren(drawn(
    "svg", { viewBox: "0 0 100 1", preserveAspectRatio: "none", "aria-hidden": "true" },
    drawn("rect", { width, height: 1 }),
  ));
  facts($("budget-facts"), [
    ["Attempts that still fit", budget.affordable_attempts.toLocaleString()],
    ["Rounds charged", budget.total_rounds.toLocaleString()],
    ["δ", epsilon(budget.delta)],
  ]);
  $("charges").replaceChildren(...budget.history.toReversed().map((line) => element(
    "tr", {},
    element("td", { className: "round" }, String(line.round)),
    element("td", {}, moment(line.timestamp)),
    element("td", { className: "number" }, epsilon(line.epsilon_spent)),
    element("td", { className: "number" }, epsilon(line.epsilon_total_used)),
    element("td", { className: "number" }, epsilon(line.epsilon_remaining)),
    element("td", {}, line.model_hash ? hashed(line.model_hash) : "none"),
  )));
  $("all-charges").hidden = budget.history.length === 0;
  showChart();
}

function showRounds(rounds, certified) {
  const hospitals = new Map(certified.map((each) => [each.round, each.participants]));
  $("no-rounds").hidden = rounds.length > 0;
  $("rounds-table").hidden = rounds.length === 0;
  $("rounds-aside").textContent = rounds.length ? count(rounds.length, "round", "rounds") : "";
  $("rounds").replaceChildren(...rounds.slice(0, view.shownRounds).map((each) => {
    const participants = hospitals.get(each.round);
    const cell = (label, value, className = "") => element(
      "td", { className: `${className}${value === null ? " absent" : ""}`, "data-label": label },
      value === null ? none() : value,
    );
    const badge = element("span", { className: "pill" }, each.status);
    badge.dataset.tone = STATUS_TONES[each.status] ?? "quiet";
    return element(
      "tr", {},
      element("td", { className: "round" }, String(each.round)),
      element("td", { className: "status" }, badge),
      cell("Model", each.model_hash && hashed(each.model_hash, HASH_DIGITS, true), "model"),
      cell("Hospitals", participants
        ? element("span", { title: participants.join(", ") }, String(participants.length)) : null, "number"),
      cell("Patients", each.patients_submitted?.toLocaleString() ?? null, "number"),
      cell("Encrypted", each.data_size_encrypted === null ? null : bytes(each.data_size_encrypted), "number"),
      cell("Posted", each.submission_time && moment(each.submission_time)),
      cell("Latency", each.submission_latency === null ? null : seconds(each.submission_latency), "number"),
      cell("ε", each.privacy_epsilon_used === null ? null : epsilon(each.privacy_epsilon_used), "number"),
    );
  }));
  const hidden = rounds.length - view.shownRounds;
  $("more").hidden = hidden <= 0;
  $("more").textContent = `Show ${count(Math.max(hidden, 0), "earlier round", "earlier rounds")}`;
}

$("more").addEventListener("click", () => {
  view.shownRounds = Infinity;
  refresh();
});

function showAudit(head) {
  $("audit-lines").textContent = count(head.seq, "line", "lines");
  facts($("audit-facts"), [
    ["Hash", hashed(head.hash, 64)],
    ["Signature", hashed(head.signature, 64)],
    ["Identity key", hashed(head.identity_key, 64)],
  ]);
}

// --- the chart ---------------------------------------------------------------------------------------

const HEIGHT = 260;
const NARROWEST = 120;
const MARGIN = { top: 26, right: 14, bottom: 34, left: 46 };

/** Positions in the chart for a budget, in a given width. */
function scales(budget, width) {
  const charges = budget.history.length;
  const most = Math.max(budget.epsilon_total, budget.epsilon_used);
  const room = Math.min(budget.affordable_attempts, Math.max(3, charges));
  const inner = width - MARGIN.left - MARGIN.right;
  const height = HEIGHT - MARGIN.top - MARGIN.bottom;
  return {
    x: (index) => MARGIN.left + (inner * index) / Math.max(charges + room, 1),
    y: (value) => MARGIN.top + height * (1 - value / most),
    most,
    right: width - MARGIN.right,
    bottom: HEIGHT - MARGIN.bottom,
  };
}

function ticks(most) {
  const rough = most / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((each) => each * power).find((each) => each >= rough);
  return Array.from({ length: Math.floor(most / step + 1e-9) + 1 }, (_, index) => index * step);
}

function showChart() {
  const budget = view.budget;
  const width = $("chart").clientWidth;
  if (!budget || budget.epsilon_total === null || width < NARROWEST) return; // not laid out yet
  const scale = scales(budget, width);
  const picture = drawn("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, "aria-hidden": "true" });
  picture.append(...frame(budget, scale), ...curve(budget.history, scale));
  $("chart").replaceChildren(picture);
  readOut();
}

/** Everything that does not move: the grid, the limit, the zone in which the node warns. */
function* frame(budget, scale) {
  const low = budget.epsilon_total * 0.8;
  yield drawn("rect", {
    class: "low", x: MARGIN.left, width: scale.right - MARGIN.left,
    y: scale.y(budget.epsilon_total), height: scale.y(low) - scale.y(budget.epsilon_total),
  });
  for (const tick of ticks(scale.most)) {
    const y = scale.y(tick);
    yield drawn("line", { class: "grid", x1: MARGIN.left, x2: scale.right, y1: y, y2: y });
    yield written(MARGIN.left - 8, y + 4, "end", epsilon(tick));
  }
  const limit = scale.y(budget.epsilon_total);
  yield drawn("line", { class: "limit", x1: MARGIN.left, x2: scale.right, y1: limit, y2: limit });
  const total = epsilon(budget.epsilon_total);
  yield written(scale.right, limit - 8, "end", `budget ε = ${total}`, "limit-text");
  yield written(scale.right - 8, limit + 18, "end", "less than 20 % left", "low-text");
  const start = scale.x(budget.history.length);
  const fits = `room for ${count(budget.affordable_attempts, "more attempt", "more attempts")}`;
  if (budget.history.length > 0 && budget.affordable_attempts > 0 && scale.right - start > 150) {
    yield written((start + scale.right) / 2, scale.bottom - 12, "middle", fits);
  }
  if (budget.history.length === 0) {
    const middle = (MARGIN.left + scale.right) / 2;
    yield written(middle, scale.y(scale.most / 2.6), "middle", "Nothing has been charged yet.");
  }
}

/** A step for each charge: the total stays until the next attempt is charged. */
function* curve(history, scale) {
  if (history.length === 0) return;
  let path = `M${scale.x(0)} ${scale.y(0)}`;
  history.forEach((line, index) => {
    path += `H${scale.x(index + 0.5)}V${scale.y(line.epsilon_total_used)}`;
  });
  const end = scale.x(history.length);
  yield drawn("path", { class: "area", d: `${path}H${end}V${scale.y(0)}Z` });
  yield drawn("path", { class: "line", d: `${path}H${end}` });
  const apart = Math.ceil((history.length * 34) / (end - scale.x(0)));
  for (const [index, line] of history.entries()) {
    const x = scale.x(index + 0.5);
    const y = scale.y(line.epsilon_total_used);
    const chosen = index === (view.chosen ?? history.length - 1);
    if (chosen) {
      yield drawn("line", { class: "cursor", x1: x, x2: x, y1: y, y2: scale.bottom });
    }
    yield drawn("circle", {
      class: `point${line.model_hash ? "" : " out"}${chosen ? " chosen" : ""}`,
      cx: x, cy: y, r: history.length > 80 ? 2 : 4,
    });
    if ((history.length - 1 - index) % apart === 0) {
      yield written(x, scale.bottom + 20, "middle", String(line.round));
    }
  }
  yield written(MARGIN.left - 8, scale.bottom + 20, "end", "round");
}

/** The chosen charge in words; the newest, until somebody chooses. */
function readOut() {
  const line = view.history[view.chosen ?? view.history.length - 1];
  if (line === undefined) {
    $("chart-reading").textContent = "";
    return;
  }
  $("chart-reading").replaceChildren(
    element("b", {}, `Round ${line.round}`),
    ` raised ε by ${epsilon(line.epsilon_spent)} to ${epsilon(line.epsilon_total_used)}; `,
    line.model_hash
      ? `it is in model ${line.model_hash.slice(0, HASH_DIGITS)}…`
      : "no model came of it (yet), and it stays charged.",
  );
}

function choose(index) {
  if (view.history.length === 0) return;
  const chosen = Math.min(Math.max(index, 0), view.history.length - 1);
  if (chosen === (view.chosen ?? view.history.length - 1)) return;
  view.chosen = chosen;
  showChart();
}

$("chart").addEventListener("keydown", (event) => {
  const newest = view.history.length - 1;
  const moves = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };
  if (!(event.key in moves)) return;
  event.preventDefault();
  choose((view.chosen ?? newest) + moves[event.key]);
});

$("chart").addEventListener("pointermove", (event) => {
  if (view.budget === null) return;
  const scale = scales(view.budget, $("chart").clientWidth);
  const position = event.clientX - $("chart").getBoundingClientRect().left;
  choose(Math.floor((position - scale.x(0)) / (scale.x(1) - scale.x(0))));
});

$("chart").addEventListener("pointerleave", () => {
  view.chosen = null;
  showChart();
});

new ResizeObserver(showChart).observe($("chart"));

document.addEventListener("visibilitychange", () => {
  clearTimeout(view.timer);
  if (!document.hidden) refresh();
});

refresh();
