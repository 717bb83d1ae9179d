"""Batches that the node fetches by itself, when a cron expression says so.

timetable     when a run is due, by the local clock
diary         what the next process has to know of runs: durable
source        what a run takes batches from, and how a batch is handed over once
outbox        a source: a folder of encrypted batches
bundle        a source: a FHIR bundle; fhir_records, measurements: how it becomes records
scheduler     the loop: waits, runs, retries
"""
