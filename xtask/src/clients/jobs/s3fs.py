# s3fs and pandas: files as files, ranges in one call, parquet, removal of trees.
import os
import pandas as pd, s3fs

bucket = os.environ["BUCKET"]
options = {"endpoint_url": os.environ["S3_ENDPOINT"], "client_kwargs": {"region_name": os.environ["AWS_REGION"]}}
fs = s3fs.S3FileSystem(**options)
body = os.urandom(11 << 20)
with fs.open(f"{bucket}/file.bin", "wb", block_size=5 << 20) as file:
    file.write(body)
with fs.open(f"{bucket}/file.bin", "rb") as file:
    file.seek(9_000_000)
    assert file.read(100) == body[9_000_000:9_000_100]
assert fs.cat_ranges([f"{bucket}/file.bin"] * 3, [0, 5, 100], [5, 10, 200]) == [body[:5], body[5:10], body[100:200]]
frame = pd.DataFrame({"a": range(1000), "b": [str(n) for n in range(1000)]})
frame.to_parquet(f"s3://{bucket}/frame.parquet", storage_options=options)
assert pd.read_parquet(f"s3://{bucket}/frame.parquet", storage_options=options).equals(frame)
frame.to_csv(f"s3://{bucket}/dir/frame.csv", storage_options=options, index=False)
assert len(pd.read_csv(f"s3://{bucket}/dir/frame.csv", storage_options=options)) == 1000
fs.pipe({f"{bucket}/dir/{n}": b"x" for n in range(50)})
assert len(fs.ls(f"{bucket}/dir")) == 51 and fs.isdir(f"{bucket}/dir") and not fs.exists(f"{bucket}/no")
fs.cp(f"{bucket}/file.bin", f"{bucket}/copy.bin")
fs.rm(f"{bucket}/dir", recursive=True)
fs.invalidate_cache()
assert fs.glob(f"{bucket}/*.bin") == [f"{bucket}/copy.bin", f"{bucket}/file.bin"] and not fs.exists(f"{bucket}/dir")
print("files written in blocks and read by ranges, frames as parquet and CSV, a tree removed")
