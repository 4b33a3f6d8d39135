# pyiceberg: a table with a partition, appends, a delete, time travel.
import os
import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog

bucket = os.environ["BUCKET"]
catalog = SqlCatalog("c", **{"uri": f"sqlite:///{os.environ['WORK']}/catalog.db", "warehouse": f"s3://{bucket}/warehouse",
    "s3.endpoint": os.environ["S3_ENDPOINT"], "s3.access-key-id": os.environ["AWS_ACCESS_KEY_ID"],
    "s3.secret-access-key": os.environ["AWS_SECRET_ACCESS_KEY"], "s3.region": os.environ["AWS_REGION"]})
catalog.create_namespace("n")
rows = pa.table({"id": pa.array(range(10_000), pa.int64()), "kind": pa.array([str(n % 3) for n in range(10_000)])})
table = catalog.create_table("n.t", schema=rows.schema)
table.append(rows)
first = table.current_snapshot().snapshot_id
table.append(rows)
table.delete("id >= 5000")
assert table.scan().to_arrow().num_rows == 10_000
assert table.scan(snapshot_id=first).to_arrow().num_rows == 10_000
assert table.scan(row_filter="kind = '1' and id < 30", selected_fields=("id",)).to_arrow().num_rows == 20
catalog.drop_table("n.t")
print("two appends, a delete, an older snapshot, a filter")
