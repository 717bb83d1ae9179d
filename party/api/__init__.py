"""The node's HTTP interface, for its own hospital: its EHR, its monitoring, its operators.

app             the routes and their guards, put together
services        what the routes work with
access          who may talk to the node: names, origins, the token
limits          what one request may cost
errors          how a request is refused
serving         the socket, in plain HTTP or TLS
health          /healthz, /status
reference       /docs
submissions     POST /submit-federated-update: what an EHR posts, and what it is answered
updates         POST /submit-update: what another framework has computed; /models/initial
answers         the rule behind those answers
waiting         many requests that wait for what becomes of their submissions
participation   leaving the consortium's rounds, and coming back
budget          /privacy-budget
rounds          /rounds
transcripts     /rounds/{number}/transcript
models          /models
audit           /audit/head
metrics         /metrics, for Prometheus
page            the page at /, for people
"""

from party.api.app import application
from party.api.services import Services
from party.api.serving import serve

__all__ = ["Services", "application", "serve"]
