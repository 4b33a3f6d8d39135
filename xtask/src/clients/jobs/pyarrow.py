# pyarrow: partitioned datasets written and read with filters, streams, directories, moves.
import os
import pyarrow as pa, pyarrow.dataset as ds, pyarrow.parquet as pq
from pyarrow import fs

bucket = os.environ["BUCKET"]
s3 = fs.S3FileSystem(endpoint_override=os.environ["S3_HOST"], scheme="http", region=os.environ["AWS_REGION"], allow_bucket_creation=False)
rows = 300_000
table = pa.table({"id": range(rows), "day": [f"2026-01-{n % 28 + 1:02}" for n in range(rows)], "x": [n * 0.5 for n in range(rows)]})
ds.write_dataset(table, f"{bucket}/data", filesystem=s3, format="parquet", partitioning=ds.partitioning(pa.schema([("day", pa.string())]), flavor="hive"))
data = ds.dataset(f"{bucket}/data", filesystem=s3, format="parquet", partitioning="hive")
assert data.count_rows() == rows
part = data.to_table(filter=(ds.field("day") == "2026-01-03") & (ds.field("x") > 1000), columns=["id"])
assert part.num_rows == sum(1 for n in range(rows) if n % 28 == 2 and n * 0.5 > 1000)
pq.write_table(table, f"{bucket}/one.parquet", filesystem=s3)
assert pq.read_table(f"{bucket}/one.parquet", filesystem=s3, columns=["x"]).num_rows == rows
with s3.open_output_stream(f"{bucket}/stream.bin") as out:
    for n in range(12):
        out.write(bytes([n]) * (1 << 20))
with s3.open_input_file(f"{bucket}/stream.bin") as source:
    source.seek(11 << 20)
    assert source.read() == bytes([11]) * (1 << 20)
assert s3.get_file_info(f"{bucket}/data").type == fs.FileType.Directory
assert s3.get_file_info(f"{bucket}/nothing").type == fs.FileType.NotFound
s3.move(f"{bucket}/stream.bin", f"{bucket}/moved.bin")
s3.delete_dir_contents(f"{bucket}/data")
assert {i.base_name for i in s3.get_file_info(fs.FileSelector(bucket)) if i.type == fs.FileType.File} == {"one.parquet", "moved.bin"}
print(f"{rows} rows in 28 partitions written and filtered, streams, moves, directories")
