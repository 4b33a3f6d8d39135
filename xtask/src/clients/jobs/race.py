# 8 writers race for 1,000 commits by If-None-Match, and for one head by If-Match, while the gateway is
# killed and started again: each commit has exactly one winner, and no winner is forgotten.
import collections, json, multiprocessing, os, sys, time
import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

WRITERS, COMMITS = 8, int(os.environ.get("COMMITS", "1000"))
bucket, work = os.environ["BUCKET"], os.environ["WORK"]
LOST = {"PreconditionFailed", "ConditionalRequestConflict"}

def client():
    config = Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=20)
    return boto3.client("s3", endpoint_url=os.environ["S3_ENDPOINT"], config=config)

def attempt(act, **args):
    """'won', 'lost', or 'unknown': it may have happened."""
    try:
        act(**args)
        return "won"
    except ClientError as error:
        code = error.response["Error"]["Code"]
        return "lost" if code in LOST else "unknown"
    except BotoCoreError:
        return "unknown"

def read(s3, key):
    """The object as it is, however long the gateway is away."""
    until = time.monotonic() + 120
    while True:
        try:
            got = s3.get_object(Bucket=bucket, Key=key)
            return got["ETag"], got["Body"].read().decode()
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchKey":
                return None, None
        except BotoCoreError:
            pass
        if time.monotonic() > until:
            sys.exit("the gateway did not come back")
        time.sleep(0.05)

def write(writer):
    s3 = client()
    with open(f"{work}/writer-{writer}.jsonl", "w") as log:
        for commit in range(COMMITS):
            key, tries = f"commits/{commit:06}", 0
            while True:
                tries += 1
                mine = f"{writer}.{tries}"
                outcome = attempt(s3.put_object, Bucket=bucket, Key=key, Body=mine.encode(), IfNoneMatch="*")
                print(json.dumps([key, mine, outcome]), file=log)
                if outcome != "unknown" or read(s3, key)[1] is not None:
                    break
            # The head counts up; whoever loses looks again with the next commit.
            etag, value = read(s3, "head")
            if etag is not None:
                mine = f"{int(value.split()[0]) + 1} {writer}.{commit}"
                outcome = attempt(s3.put_object, Bucket=bucket, Key="head", Body=mine.encode(), IfMatch=etag)
                print(json.dumps(["head", mine, outcome]), file=log)

def judge():
    s3 = client()
    said = collections.defaultdict(lambda: collections.defaultdict(list))
    heads = collections.defaultdict(list)
    for writer in range(WRITERS):
        for line in open(f"{work}/writer-{writer}.jsonl"):
            key, mine, outcome = json.loads(line)
            if key == "head":
                heads[int(mine.split()[0])].append((mine, outcome))
            else:
                said[key][outcome].append(mine)
    doubtful = 0
    for commit in range(COMMITS):
        key = f"commits/{commit:06}"
        _, stands = read(s3, key)
        won, unknown = said[key]["won"], said[key]["unknown"]
        assert stands is not None, f"{key}: nobody's"
        assert len(won) <= 1, f"{key}: {won} were all told that they had won"
        if won:
            assert stands == won[0], f"{key}: {won[0]} was told that it had won, {stands} stands there"
        else:
            doubtful += 1
            assert stands in unknown, f"{key}: {stands} stands there, and only {unknown} can have put it"
    _, head = read(s3, "head")
    last = int(head.split()[0])
    for value in range(1, last + 1):
        won = [mine for mine, outcome in heads[value] if outcome == "won"]
        unknown = [mine for mine, outcome in heads[value] if outcome == "unknown"]
        assert len(won) <= 1, f"head {value}: {won} were all told that they had won"
        assert won or unknown, f"head {value}: nobody put it"
    for value in heads:
        if value > last:
            won = [mine for mine, outcome in heads[value] if outcome == "won"]
            assert not won, f"head {value}: {won} won and is gone, the head is {head}"
    print(f"{COMMITS} commits, one winner each ({doubtful} told nobody and are there all the same); the head counted to {last}")

if __name__ == "__main__":
    if sys.argv[1] == "write":
        client().put_object(Bucket=bucket, Key="head", Body=b"0 begin")
        spawn = multiprocessing.get_context("spawn")
        writers = [spawn.Process(target=write, args=(writer,)) for writer in range(WRITERS)]
        [writer.start() for writer in writers]
        [writer.join() for writer in writers]
        sys.exit(max(abs(writer.exitcode) for writer in writers))
    judge()
