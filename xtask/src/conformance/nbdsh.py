# libnbd against the server, in the mode that the caller has set; see clients.rs.
import errno

offers_extended = hasattr(h, "set_request_extended_headers")
if mode == "extended" and not offers_extended:
    print("this libnbd has no extended headers")
    raise SystemExit(0)
h.set_request_structured_replies(mode != "simple")
if offers_extended:
    h.set_request_extended_headers(mode == "extended")
if mode != "simple":
    h.add_meta_context("base:allocation")
    h.add_meta_context("x-cess:dirty:since-open")
h.connect_uri(uri)
size = h.get_size()
assert size == 64 << 20
assert h.get_structured_replies_negotiated() == (mode != "simple")

# Bytes, at odd places too.
data = bytes(i % 251 for i in range(300_000))
h.pwrite(data, 4099)
assert h.pread(len(data), 4099) == data
h.pwrite(data[:4096], 0, nbd.CMD_FLAG_FUA)
h.flush()

# Zeroes and holes.
h.zero(8192, 4099)
h.zero(4096, 1 << 20, nbd.CMD_FLAG_NO_HOLE)
h.zero(1 << 20, 2 << 20, nbd.CMD_FLAG_FAST_ZERO)
assert h.pread(8192, 4099) == bytes(8192)
h.trim(1 << 20, 8 << 20)
h.cache(1 << 20, 0)

# Many requests under way at once, answered in any order.
done = []
def finished(error):
    done.append(error.value)
    return 1
buffers = [nbd.Buffer.from_bytearray(bytearray([i]) * 4096) for i in range(64)]
for i, buffer in enumerate(buffers):
    h.aio_pwrite(buffer, (16 << 20) + i * 4096, finished)
while h.aio_in_flight() > 0:
    h.poll(-1)
assert done == [0] * 64
for i in range(64):
    assert h.pread(4096, (16 << 20) + i * 4096) == bytes([i]) * 4096

# Extents, in both contexts; and a read in chunks.
if mode != "simple":
    seen = {}
    def extents(context, offset, entries, error):
        seen[context] = sum(entries[0::2])
    h.block_status(size, 0, extents)
    assert set(seen) == {"base:allocation", "x-cess:dirty:since-open"}, seen
    h.block_status(65536, 0, extents, nbd.CMD_FLAG_REQ_ONE)
    assert all(0 < length <= 65536 for length in seen.values()), seen
    chunks = []
    def chunk(buffer, offset, status, error):
        chunks.append((offset, len(buffer), status))
    h.pread_structured(4 << 20, 14 << 20, chunk)
    assert sum(length for _, length, _ in chunks) == 4 << 20
    assert any(status == nbd.READ_HOLE for _, _, status in chunks), chunks
    chunks.clear()
    h.pread_structured(65536, (16 << 20) - 4096, chunk, nbd.CMD_FLAG_DF)
    assert len(chunks) == 1, chunks

# What libnbd itself would refuse to send.
h.set_strict_mode(0)
def fails(number, act):
    try:
        act()
    except nbd.Error as error:
        assert error.errnum == number, (error.errnum, number)
    else:
        raise AssertionError("it succeeded")
fails(errno.EINVAL, lambda: h.pread(4096, size))
fails(errno.ENOSPC, lambda: h.pwrite(bytes(4096), size))
fails(errno.ENOSPC, lambda: h.zero(4096, size - 1))
fails(errno.EINVAL, lambda: h.trim(4096, size))
fails(errno.EINVAL, lambda: h.flush(1 << 9))
assert h.pread(512, 4099 + 8192) == data[8192:8704]
h.shutdown()
