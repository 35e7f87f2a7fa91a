"""Takes aggregates apart with Amazon's own module aws-kinesis-agg: a JSON line in, a JSON line out."""

import json
import sys

from aws_kinesis_agg.deaggregator import iter_deaggregate_records


def kinesis_record(line):
    stored = json.loads(line)
    return {
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "approximateArrivalTimestamp": 0,
            "sequenceNumber": stored["sequenceNumber"],
            "partitionKey": stored["partitionKey"],
            "data": stored["data"],
        }
    }


def user_record(record):
    kinesis = record["kinesis"]
    data = kinesis["data"]
    return {
        "partitionKey": kinesis["partitionKey"],
        "explicitHashKey": kinesis.get("explicitHashKey"),
        # Of a record that is no aggregate it is the text that we gave.
        "data": data.decode("ascii") if isinstance(data, bytes) else data,
        "isAggregated": kinesis.get("aggregated", False),
    }


for line in sys.stdin:
    records = [user_record(record) for record in iter_deaggregate_records([kinesis_record(line)])]
    sys.stdout.write(json.dumps(records) + "\n")
