# Writes numbered blocks to a volume until the connection breaks, and says after each flush what must be
# there; or compares a volume with what was said. Run by nbdsh, with `uri`, `record`, `seed` and `act`.
import json
import random

BLOCK = 4096


def stamp(number, block):
    return (b"%016d %08d " % (number, block)).ljust(BLOCK, b"%x" % (number % 16))


def write():
    rng = random.Random(seed)
    blocks = h.get_size() // BLOCK
    pending, flushed, number = {}, {}, seed * 1000000
    with open(record, "w") as out:
        while True:
            number += 1
            block = rng.randrange(blocks) if rng.random() < 0.7 else number % blocks
            count = min(rng.choice([1, 1, 1, 4, 32]), blocks - block)
            # What is about to be written may be there after the kill, whole blocks of it.
            out.write(json.dumps(["try", number, block, count]) + "\n")
            out.flush()
            data = b"".join(stamp(number, block + at) for at in range(count))
            flags = nbd.CMD_FLAG_FUA if rng.random() < 0.05 else 0
            h.pwrite(data, block * BLOCK, flags)
            if flags:
                out.write(json.dumps(["safe", number]) + "\n")
            elif rng.random() < 0.1:
                h.flush()
                out.write(json.dumps(["safe", number]) + "\n")
            out.flush()


def check():
    blocks = h.get_size() // BLOCK
    history, safe = {}, 0
    for line in open(record):
        entry = json.loads(line)
        if entry[0] == "safe":
            safe = entry[1]
        else:
            _, number, block, count = entry
            for at in range(block, block + count):
                history.setdefault(at, []).append(number)
    newest = 0
    lost = []
    for block in range(blocks):
        data = h.pread(BLOCK, block * BLOCK)
        numbers = history.get(block, [])
        must = max((number for number in numbers if number <= safe), default=0)
        found = 0 if data == bytes(BLOCK) else int(data[:16])
        newest = max(newest, found if found in numbers else 0)
        whole = found == 0 or data == stamp(found, block)
        if not whole or (numbers and found < must):
            lost.append((block, found, must, whole))
    assert not lost, "flushed blocks are missing or torn: %s" % lost[:5]
    # A prefix: nothing that was written before the newest surviving block is missing.
    for block, numbers in history.items():
        must = max((number for number in numbers if number <= newest), default=0)
        if must:
            found = int(h.pread(BLOCK, block * BLOCK)[:16])
            assert found >= must, "block %d has %d, and %d was written before %d" % (block, found, must, newest)
    print("blocks %d, flushed up to %d, found up to %d" % (len(history), safe, newest))


h.connect_uri(uri)
try:
    write() if act == "write" else check()
except nbd.Error as error:
    if act == "check":
        raise
    print("the connection broke: %s" % error)
