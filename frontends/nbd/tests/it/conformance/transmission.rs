//! The transmission phase, in the mode of the place: requests right and wrong, and their answers.

use super::Held::{self, NotOffered, Yes};
use super::{Place, checks, ensure};
use crate::client::{
    CACHE, Client, DF, DISC, EINVAL, ENOSPC, ENOTSUP, EOVERFLOW, FAST_ZERO, FLUSH, FUA, Mode, NO_HOLE,
    PAYLOAD_LEN, READ, REQ_ONE, Res, STATUS, TRIM, WRITE, ZEROES, be,
};

checks! {
    Must "NBD_CMD_WRITE" what_is_written_is_read;
    Must "Transmission" each_of_many_requests_is_answered_under_its_cookie;
    Should "NBD_CMD_READ and others" requests_of_length_zero_do_not_disconnect;
    Should "Error values" ranges_beyond_the_end_have_their_errors;
    Should "Error values" unknown_commands_are_invalid;
    Should "Error values" flags_of_other_commands_are_invalid;
    Must "Request message" a_failed_write_does_not_lose_the_place;
    Must "Command flags" fua_is_taken_on_every_command;
    Must "NBD_CMD_FLUSH" flush_succeeds_and_has_no_range;
    Must "NBD_CMD_TRIM" trim_succeeds_whole_and_in_part;
    Must "NBD_CMD_WRITE_ZEROES" zeroes_read_as_zeroes;
    Must "NBD_CMD_WRITE_ZEROES" zeroing_is_not_refused_without_fast_zero;
    Must "Command flags" fast_zero_is_fast_or_not_supported;
    Must "NBD_CMD_CACHE" cache_succeeds_and_takes_no_flags;
    Must "NBD_CMD_READ" do_not_fragment_gives_one_chunk;
    Project "NBD_CMD_READ" reads_of_holes_are_sparse_and_right;
    Should "Size constraints" thirty_two_mebibytes_are_one_payload;
    Should "Size constraints" reads_beyond_the_payload_do_not_disconnect;
    Should "Size constraints" trims_and_zeroes_beyond_the_payload_do_not_disconnect;
    Project "Size constraints" oversize_writes_end_in_an_error_or_the_connection;
    Must "NBD_CMD_DISC" disc_answers_what_is_outstanding_and_closes;
    Must "NBD_CMD_DISC" disc_alone_closes;
    Must "Transmission flags" what_one_connection_flushed_another_reads;
    Project "Terminating the transmission phase" a_wrong_magic_ends_the_connection_only;
    Project "Terminating the transmission phase" clients_that_die_in_the_middle_harm_nobody;
    Must "Command flags" payload_len_belongs_to_extended_headers;
}

async fn what_is_written_is_read(place: &Place) -> Res<Held> {
    let mut client = place.attached().await?;
    for (offset, len) in [(0, 1), (4095, 2), (1 << 20, 65536), ((2 << 20) + 7, 300_000)] {
        let data: Vec<u8> = (0..len).map(|index| (index % 253 + 1) as u8).collect();
        client.put(0, offset, &data).await?.expect(0, "WRITE")?;
        ensure!(client.get(offset, len).await? == data, "{len} bytes at {offset} are read otherwise");
    }
    Ok(Yes)
}

async fn each_of_many_requests_is_answered_under_its_cookie(place: &Place) -> Res<Held> {
    let mut client = place.attached().await?;
    for block in 0..64_u64 {
        client.put(0, block << 12, &[block as u8 + 1; 4096]).await?.expect(0, "WRITE")?;
    }
    let mut waiting = std::collections::HashMap::new();
    for block in 0..64_u64 {
        waiting.insert(client.send(READ, 0, block << 12, 4096, &[]).await?, block);
    }
    while !waiting.is_empty() {
        let (cookie, reply) = client.next_answer().await?;
        let block = waiting.remove(&cookie).ok_or("an answer came twice")?;
        ensure!(reply.data == [block as u8 + 1; 4096], "block {block} is another one");
    }
    Ok(Yes)
}

async fn requests_of_length_zero_do_not_disconnect(place: &Place) -> Res<Held> {
    let mut client = place.attached().await?;
    let size = client.size;
    for offset in [0, 512, size] {
        for command in [READ, TRIM, CACHE, ZEROES, STATUS] {
            client.ask(command, 0, offset, 0).await?;
        }
        let cookie = client.send(WRITE, 0, offset, 0, &[]).await?;
        client.answer(cookie).await?;
    }
    client.get(0, 512).await?;
    Ok(Yes)
}

async fn ranges_beyond_the_end_have_their_errors(place: &Place) -> Res<Held> {
    let mut client = place.attached().await?;
    let size = client.size;
    for (offset, length) in [(size, 512), (size - 512, 1024), (u64::MAX - 511, 512), (1 << 63, 4096)] {
        for (command, error) in
            [(READ, EINVAL), (TRIM, EINVAL), (ZEROES, ENOSPC), (STATUS, EINVAL), (CACHE, EINVAL)]
        {
            client
                .ask(command, 0, offset, length)
                .await?
                .expect(error, &format!("command {command} at {offset}"))?;
        }
        let reply = client.put(0, offset, &vec![1; length as usize]).await?;
        reply.expect(ENOSPC, &format!("WRITE at {offset}"))?;
    }
    client.get(size - 512, 512).await?;
    Ok(Yes)
}

async fn unknown_commands_are_invalid(place: &Place) -> Res<Held> {
    let mut client = place.attached().await?;
    for command in [8, 9, 255, 0xffff] {
        client.ask(command, 0, 0, 512).await?.expect(EINVAL, &format!("command {command}"))?;
    }
    client.get(0, 512).await?;
    Ok(Yes)
}

async fn flags_of_other_commands_are_invalid(place: &Place) -> Res<Held> {
    let mut client = place.attached().await?;
    let mut wrong = vec![
        (READ, NO_HOLE),
        (READ, REQ_ONE),
        (READ, FAST_ZERO),
        (FLUSH, DF),
        (TRIM, NO_HOLE),
        (ZEROES, DF),
        (STATUS, DF),
        (CACHE, REQ_ONE),
    ];
    wrong.extend((6..16).map(|bit| (READ, 1 << bit)));
    if client.mode == Mode::Simple {
        wrong.push((READ, DF));
    }
    for (command, flag) in wrong {
        let length = if command == FLUSH { 0 } else { 512 };
        client
            .ask(command, flag, 0, length)
            .await?
            .expect(EINVAL, &format!("command {command} flag {flag:#x}"))?;
    }
    for flag in [NO_HOLE, DF, REQ_ONE, FAST_ZERO, 1 << 9] {
        client.put(flag, 0, &[9; 512]).await?.expect(EINVAL, &format!("WRITE flag {flag:#x}"))?;
    }
    client.get(0, 512).await?;
    Ok(Yes)
}

/// A server that answers a bad write without taking its payload reads the payload as requests.
async fn a_failed_write_does_not_lose_the_place(place: &Place) -> Res<Held> {
    let mut client = place.attached().await?;
    let size = client.size;
    let disguised = client.request(READ, 0, 77, 0, 512);
    for (flags, offset) in [(0, size), (1 << 9, 0), (NO_HOLE, 0)] {
        let payload = disguised.repeat(100);
        let reply = client.put(flags, offset, &payload).await?;
        ensure!(reply.error != 0, "WRITE with flags {flags:#x} at {offset} succeeds");
        client.get(0, 512).await?;
    }
    Ok(Yes)
}

async fn fua_is_taken_on_every_command(place: &Place) -> Res<Held> {
    let mut client = place.attached().await?;
    if client.flags & 8 == 0 {
        return Ok(NotOffered);
    }
    for (command, length) in [(READ, 512), (FLUSH, 0), (TRIM, 4096), (CACHE, 4096), (ZEROES, 4096)] {
        client.ask(command, FUA, 0, length).await?.expect(0, &format!("command {command} with FUA"))?;
    }
    client.put(FUA, 0, &[3; 4096]).await?.expect(0, "WRITE with FUA")?;
    ensure!(client.get(0, 4096).await? == [3; 4096], "what was written with FUA is not there");
    Ok(Yes)
}

async fn flush_succeeds_and_has_no_range(place: &Place) -> Res<Held> {
    let mut client = place.attached().await?;
    if client.flags & 4 == 0 {
        return Ok(NotOffered);
    }
    client.ask(FLUSH, 0, 0, 0).await?.expect(0, "FLUSH")?;
    Ok(Yes)
}

async fn trim_succeeds_whole_and_in_part(place: &Place) -> Res<Held> {
    let mut client = place.attached().await?;
    if client.flags & 32 == 0 {
        return Ok(NotOffered);
    }
    client.put(0, 0, &[1; 12288]).await?.expect(0, "WRITE")?;
    client.ask(TRIM, 0, 4096, 4096).await?.expect(0, "TRIM")?;
    client.ask(TRIM, 0, 4100, 5).await?.expect(0, "TRIM of a few bytes")?;
    let around = client.get(0, 12288).await?;
    ensure!(around[..4096] == [1; 4096] && around[8192..] == [1; 4096], "TRIM reached beyond its range");
    let size = client.size;
    client.ask(TRIM, 0, 0, size).await?.expect(0, "TRIM of everything")?;
    Ok(Yes)
}

async fn zeroes_read_as_zeroes(place: &Place) -> Res<Held> {
    let mut client = place.attached().await?;
    if client.flags & 64 == 0 {
        return Ok(NotOffered);
    }
    for flags in [0, NO_HOLE] {
        client.put(0, 0, &[1; 16384]).await?.expect(0, "WRITE")?;
        client.ask(ZEROES, flags, 1000, 10000).await?.expect(0, "WRITE_ZEROES")?;
        let read = client.get(0, 16384).await?;
        ensure!(read[..1000].iter().all(|byte| *byte == 1), "zeroes before the range");
        ensure!(read[1000..11000].iter().all(|byte| *byte == 0), "no zeroes in the range");
        ensure!(read[11000..].iter().all(|byte| *byte == 1), "zeroes behind the range");
    }
    Ok(Yes)
}

async fn zeroing_is_not_refused_without_fast_zero(place: &Place) -> Res<Held> {
    let mut client = place.attached().await?;
    if client.flags & 64 == 0 {
        return Ok(NotOffered);
    }
    for (flags, offset, length) in [(0, 1, 1), (NO_HOLE, 5, 4096), (0, 0, client.size)] {
        client.ask(ZEROES, flags, offset, length).await?.expect(0, "WRITE_ZEROES")?;
    }
    Ok(Yes)
}

async fn fast_zero_is_fast_or_not_supported(place: &Place) -> Res<Held> {
    let mut client = place.attached().await?;
    if client.flags & 2048 == 0 {
        client.ask(ZEROES, FAST_ZERO, 0, 4096).await?.expect(EINVAL, "FAST_ZERO that was not offered")?;
        return Ok(NotOffered);
    }
    client.put(0, 0, &[1; 8192]).await?.expect(0, "WRITE")?;
    let reply = client.ask(ZEROES, FAST_ZERO, 0, 8192).await?;
    let read = client.get(0, 8192).await?;
    match reply.error {
        0 => ensure!(read == [0; 8192], "a fast zeroing that succeeded left bytes"),
        ENOTSUP => ensure!(read == [1; 8192], "a fast zeroing that failed changed bytes"),
        error => return Err(format!("FAST_ZERO: {error}")),
    }
    Ok(Yes)
}

async fn cache_succeeds_and_takes_no_flags(place: &Place) -> Res<Held> {
    let mut client = place.attached().await?;
    if client.flags & 1024 == 0 {
        return Ok(NotOffered);
    }
    client.ask(CACHE, 0, 0, 1 << 20).await?.expect(0, "CACHE")?;
    client.ask(CACHE, DF, 0, 4096).await?.expect(EINVAL, "CACHE with a flag")?;
    Ok(Yes)
}

/// Data, a hole, data: 192 KiB.
async fn holed(client: &mut Client) -> Res<Vec<u8>> {
    let mut expected = vec![0; 192 << 10];
    client.ask(ZEROES, 0, 0, 192 << 10).await?;
    for from in [0, 128 << 10] {
        client.put(0, from, &vec![5; 64 << 10]).await?.expect(0, "WRITE")?;
        expected[from as usize..][..64 << 10].fill(5);
    }
    Ok(expected)
}

async fn do_not_fragment_gives_one_chunk(place: &Place) -> Res<Held> {
    let mut client = place.attached().await?;
    if client.flags & 128 == 0 {
        return Ok(if client.mode == Mode::Simple { Yes } else { NotOffered });
    }
    let expected = holed(&mut client).await?;
    for (offset, length) in [(0_u64, 65536_u64), (32 << 10, 65536), (64 << 10, 65536), (0, 192 << 10), (1, 1)]
    {
        let reply = client.ask(READ, DF, offset, length).await?;
        reply.expect(0, "READ with DF")?;
        let content = reply.chunks.iter().filter(|(kind, _)| *kind == 1 || *kind == 2).count();
        ensure!(content == 1, "{content} chunks for {length} at {offset}");
        ensure!(reply.data == expected[offset as usize..(offset + length) as usize], "other bytes");
    }
    Ok(Yes)
}

async fn reads_of_holes_are_sparse_and_right(place: &Place) -> Res<Held> {
    let mut client = place.attached().await?;
    let expected = holed(&mut client).await?;
    let reply = client.ask(READ, 0, 0, 192 << 10).await?;
    ensure!(reply.data == expected, "other bytes");
    let holes = reply.chunks.iter().filter(|(kind, _)| *kind == 2).count();
    Ok(if client.mode == Mode::Simple || holes == 1 { Yes } else { NotOffered })
}

async fn thirty_two_mebibytes_are_one_payload(place: &Place) -> Res<Held> {
    let mut client = place.attached().await?;
    let data: Vec<u8> = (0..32 << 20).map(|index: u32| (index / 7 % 251) as u8).collect();
    client.put(0, 4096, &data).await?.expect(0, "WRITE of 32 MiB")?;
    ensure!(client.get(4096, 32 << 20).await? == data, "32 MiB are read otherwise");
    Ok(Yes)
}

async fn reads_beyond_the_payload_do_not_disconnect(place: &Place) -> Res<Held> {
    let mut client = place.attached().await?;
    let length = (32 << 20) + 512;
    let reply = client.ask(READ, 0, 0, length).await?;
    let whole = reply.error == 0 && reply.data.len() as u64 == length;
    ensure!(whole || [EINVAL, EOVERFLOW].contains(&reply.error), "error {}", reply.error);
    client.get(0, 512).await?;
    Ok(Yes)
}

async fn trims_and_zeroes_beyond_the_payload_do_not_disconnect(place: &Place) -> Res<Held> {
    let mut client = place.attached().await?;
    for command in [TRIM, ZEROES, CACHE] {
        let reply = client.ask(command, 0, 0, (32 << 20) + 4096).await?;
        ensure!([0, EINVAL, EOVERFLOW].contains(&reply.error), "command {command}: {}", reply.error);
    }
    client.get(0, 512).await?;
    Ok(Yes)
}

async fn oversize_writes_end_in_an_error_or_the_connection(place: &Place) -> Res<Held> {
    let mut client = place.attached().await?;
    let length = (32 << 20) + 4096_u64;
    let flags = if client.mode == Mode::Extended { PAYLOAD_LEN } else { 0 };
    let sent = client.send(WRITE, flags, 0, length, &vec![1; length as usize]).await;
    let answered = match sent {
        Ok(cookie) => client.answer(cookie).await.ok(),
        Err(_) => None,
    };
    if let Some(reply) = answered {
        // A server may take more than it has to.
        ensure!([0, EINVAL].contains(&reply.error), "an oversize WRITE: {}", reply.error);
        client.get(0, 512).await?;
    }
    let mut client = place.attached().await?;
    let flags = if client.mode == Mode::Extended { PAYLOAD_LEN } else { 0 };
    client.send(WRITE, flags, 0, u64::from(u32::MAX), &[]).await?;
    client.closed().await?;
    place.lives().await.map(|()| Yes)
}

async fn disc_answers_what_is_outstanding_and_closes(place: &Place) -> Res<Held> {
    let mut client = place.attached().await?;
    let mut waiting = std::collections::HashSet::new();
    for index in 0..16_u64 {
        waiting.insert(client.send(READ, 0, index << 16, 65536, &[]).await?);
        waiting.insert(client.send_put(FUA, index << 16, &[8; 4096]).await?);
    }
    client.send(DISC, 0, 0, 0, &[]).await?;
    while !waiting.is_empty() {
        let (cookie, reply) = client.next_answer().await?;
        reply.expect(0, "a request before DISC")?;
        ensure!(waiting.remove(&cookie), "an answer came twice");
    }
    client.closed().await.map(|()| Yes)
}

async fn disc_alone_closes(place: &Place) -> Res<Held> {
    let mut client = place.attached().await?;
    client.send(DISC, 0, 0, 0, &[]).await?;
    client.closed().await.map(|()| Yes)
}

async fn what_one_connection_flushed_another_reads(place: &Place) -> Res<Held> {
    let (mut one, mut two) = (place.attached().await?, place.attached().await?);
    if one.flags & 256 == 0 {
        return Ok(NotOffered);
    }
    for round in 1..20_u8 {
        two.get(4096, 4096).await?;
        one.put(0, 4096, &[round; 4096]).await?.expect(0, "WRITE")?;
        two.ask(FLUSH, 0, 0, 0).await?.expect(0, "FLUSH")?;
        ensure!(two.get(4096, 4096).await? == [round; 4096], "round {round} is not seen");
    }
    Ok(Yes)
}

async fn a_wrong_magic_ends_the_connection_only(place: &Place) -> Res<Held> {
    let (mut bad, mut good) = (place.attached().await?, place.attached().await?);
    bad.write(&[0x25; 64]).await?;
    bad.closed().await?;
    good.get(0, 512).await?;
    Ok(Yes)
}

async fn clients_that_die_in_the_middle_harm_nobody(place: &Place) -> Res<Held> {
    let mut good = place.attached().await?;
    for cut in [1, 4, 27, 28, 31, 32, 100, 4000] {
        let mut client = place.attached().await?;
        let flags = if client.mode == Mode::Extended { PAYLOAD_LEN } else { 0 };
        let whole = be(&[&client.request(WRITE, flags, 1, 0, 4096), &[9; 4096]]);
        client.write(&whole[..cut.min(whole.len() - 1)]).await?;
        drop(client);
        let mut client = place.attached().await?;
        for _ in 0..50 {
            client.send(READ, 0, 0, 1 << 20, &[]).await?;
        }
        drop(client);
        good.get(0, 512).await?;
    }
    Ok(Yes)
}

async fn payload_len_belongs_to_extended_headers(place: &Place) -> Res<Held> {
    let mut client = place.attached().await?;
    if client.mode == Mode::Extended {
        // A write without the flag has no payload, a read with it has one; both are refused in step.
        client.ask(WRITE, 0, 0, 512).await?.expect(EINVAL, "WRITE without PAYLOAD_LEN")?;
        let cookie = client.send(READ, PAYLOAD_LEN, 0, 700, &[0x21; 700]).await?;
        client.answer(cookie).await?.expect(EINVAL, "READ with PAYLOAD_LEN")?;
        let cookie = client.send(WRITE, PAYLOAD_LEN, 0, 0, &[]).await?;
        client.answer(cookie).await?;
    } else {
        client.ask(READ, PAYLOAD_LEN, 0, 512).await?.expect(EINVAL, "READ with PAYLOAD_LEN")?;
        let cookie = client.send(WRITE, PAYLOAD_LEN, 0, 512, &[1; 512]).await?;
        client.answer(cookie).await?.expect(EINVAL, "WRITE with PAYLOAD_LEN")?;
    }
    client.get(0, 512).await?;
    Ok(Yes)
}
