# deltalake: four writers race for every commit; not one may be lost, none counted twice.
import multiprocessing, os, sys
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

bucket = os.environ["BUCKET"]
table = f"s3://{bucket}/table"
options = {"AWS_ENDPOINT_URL": os.environ["S3_ENDPOINT"], "AWS_ALLOW_HTTP": "true", "AWS_REGION": os.environ["AWS_REGION"]}
ROUNDS, ROWS, WRITERS = 5, 10, 4

def frame(writer, round):
    return pa.table({"writer": pa.array([writer] * ROWS, pa.int64()), "round": pa.array([round] * ROWS, pa.int64())})

def write(writer):
    done = 0
    for round in range(ROUNDS):
        for _ in range(50):
            try:
                write_deltalake(table, frame(writer, round), mode="append", storage_options=options)
                done += 1
                break
            except Exception as error:
                if "ommit" not in str(error) and "onflict" not in str(error) and "ransaction" not in str(error):
                    raise
        else:
            sys.exit("a writer never got its turn")
    sys.exit(0 if done == ROUNDS else 1)

if __name__ == "__main__":
    write_deltalake(table, frame(99, 0), storage_options=options)
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=write, args=(writer,)) for writer in range(WRITERS)]
    [writer.start() for writer in writers]
    [writer.join() for writer in writers]
    assert all(writer.exitcode == 0 for writer in writers), [writer.exitcode for writer in writers]
    found = DeltaTable(table, storage_options=options)
    commits = WRITERS * ROUNDS
    assert found.version() == commits, f"version {found.version()} after {commits} commits"
    rows = found.to_pyarrow_table()
    assert rows.num_rows == (commits + 1) * ROWS, rows.num_rows
    counted = {}
    for writer, round in zip(rows["writer"].to_pylist(), rows["round"].to_pylist()):
        counted[writer, round] = counted.get((writer, round), 0) + 1
    assert all(count == ROWS for count in counted.values()) and len(counted) == commits + 1
    found.optimize.compact()
    found.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    assert DeltaTable(table, storage_options=options).to_pyarrow_table().num_rows == (commits + 1) * ROWS
    print(f"{WRITERS} writers racing, {commits} commits and each of them there once; compacted, vacuumed")
    # Threads of the library may be alive still; ending the interpreter under them aborts now and then.
    sys.stdout.flush()
    os._exit(0)
