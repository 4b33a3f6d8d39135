//! Block status: what its chunks may say, and the extension's choice of contexts.

use super::Held::{self, NotOffered, Yes};
use super::{Place, checks, ensure};
use crate::client::{
    Client, EINVAL, Mode, NO_HOLE, PAYLOAD_LEN, READ, REQ_ONE, Reply, Res, STATUS, TRIM, ZEROES, be,
};

checks! {
    Must "NBD_CMD_BLOCK_STATUS" each_selected_context_has_one_chunk;
    Must "NBD_REPLY_TYPE_BLOCK_STATUS" extents_stop_at_the_range_but_for_the_last;
    Must "NBD_CMD_BLOCK_STATUS" one_extent_when_one_is_asked_for;
    Should "NBD_CMD_BLOCK_STATUS" neighbours_differ_and_stand_on_sectors;
    Must "base:allocation metadata context" what_is_called_zero_reads_as_zeroes;
    Must "base:allocation metadata context" written_data_is_not_called_zero;
    Must "Command flags" no_hole_leaves_no_hole;
    Should "Metadata querying" without_a_context_status_is_invalid;
}

/// The id of a context, and length and flags of its extents.
type Told = (u32, Vec<(u64, u64)>);

fn contexts(reply: &Reply, mode: Mode) -> Res<Vec<Told>> {
    reply.expect(0, "BLOCK_STATUS")?;
    let mut contexts = Vec::new();
    for (kind, payload) in &reply.chunks {
        let word =
            |at: usize| u64::from(u32::from_be_bytes(payload[at..at + 4].try_into().unwrap_or_default()));
        let long = |at: usize| u64::from_be_bytes(payload[at..at + 8].try_into().unwrap_or_default());
        let id = if *kind == 0 { continue } else { word(0) as u32 };
        let extents: Vec<(u64, u64)> = match mode {
            Mode::Extended => {
                ensure!(*kind == 6, "chunk type {kind} with extended headers");
                ensure!(word(4) as usize == (payload.len() - 8) / 16, "the descriptor count is {}", word(4));
                (8..payload.len()).step_by(16).map(|at| (long(at), long(at + 8))).collect()
            }
            _ => (4..payload.len()).step_by(8).map(|at| (word(at), word(at + 4))).collect(),
        };
        ensure!(extents.iter().all(|(length, _)| *length > 0), "an empty extent");
        contexts.push((id, extents));
    }
    Ok(contexts)
}

async fn client(place: &Place, queries: &[&str]) -> Res<Client> {
    Client::attached(&place.target, &place.export, place.mode, queries).await
}

async fn allocation(client: &mut Client, flags: u16, offset: u64, length: u64) -> Res<Vec<(u64, u64)>> {
    let reply = client.ask(STATUS, flags, offset, length).await?;
    let mut contexts = contexts(&reply, client.mode)?;
    ensure!(contexts.len() == 1, "{} chunks for one context", contexts.len());
    contexts.pop().map(|(_, extents)| extents).ok_or_else(|| "no extents".to_owned())
}

/// 4 x 64 KiB: data, hole, data, hole.
async fn striped(client: &mut Client) -> Res<()> {
    client.ask(ZEROES, 0, 0, 256 << 10).await?.expect(0, "WRITE_ZEROES")?;
    for from in [0, 128 << 10] {
        client.put(0, from, &vec![6; 64 << 10]).await?.expect(0, "WRITE")?;
    }
    Ok(())
}

async fn each_selected_context_has_one_chunk(place: &Place) -> Res<Held> {
    let mut client = client(place, &["base:allocation", "x-cess:dirty:since-open"]).await?;
    let reply = client.ask(STATUS, 0, 0, 1 << 20).await?;
    let contexts = contexts(&reply, client.mode)?;
    let mut ids: Vec<u32> = contexts.iter().map(|(id, _)| *id).collect();
    ids.sort_unstable();
    ids.dedup();
    ensure!(ids.len() == contexts.len(), "a context has two chunks");
    Ok(if ids.len() == 2 { Yes } else { NotOffered })
}

async fn extents_stop_at_the_range_but_for_the_last(place: &Place) -> Res<Held> {
    let mut client = client(place, &["base:allocation"]).await?;
    striped(&mut client).await?;
    let size = client.size;
    for (offset, length) in [(0, 256 << 10), (4096, 100_000), (60_000, 80_000), (0, size), (size - 1, 1)] {
        let extents = allocation(&mut client, 0, offset, length).await?;
        let (_, first) = extents.split_last().ok_or("no extent")?;
        let sum: u64 = first.iter().map(|(length, _)| length).sum();
        ensure!(sum < length, "all but the last extent are {sum} of {length} bytes");
        let end = offset + extents.iter().map(|(length, _)| length).sum::<u64>();
        ensure!(end <= size, "an extent ends at {end}, beyond the export");
    }
    Ok(Yes)
}

async fn one_extent_when_one_is_asked_for(place: &Place) -> Res<Held> {
    let mut client = client(place, &["base:allocation"]).await?;
    striped(&mut client).await?;
    for (offset, length) in [(0_u64, 256 << 10), (0, 512), (70_000, 512), (1, 1)] {
        let extents = allocation(&mut client, REQ_ONE, offset, length).await?;
        ensure!(extents.len() == 1 && extents[0].0 <= length, "{extents:?} for {length}");
    }
    Ok(Yes)
}

async fn neighbours_differ_and_stand_on_sectors(place: &Place) -> Res<Held> {
    let mut client = client(place, &["base:allocation"]).await?;
    striped(&mut client).await?;
    let extents = allocation(&mut client, 0, 0, 256 << 10).await?;
    ensure!(extents.windows(2).all(|pair| pair[0].1 != pair[1].1), "neighbours alike: {extents:?}");
    ensure!(extents.iter().all(|(length, _)| length % 512 == 0), "{extents:?}");
    Ok(if extents.len() == 4 { Yes } else { NotOffered })
}

async fn what_is_called_zero_reads_as_zeroes(place: &Place) -> Res<Held> {
    let mut client = client(place, &["base:allocation"]).await?;
    striped(&mut client).await?;
    client.ask(TRIM, 0, 16 << 10, 16 << 10).await?;
    let mut at = 0;
    for (length, flags) in allocation(&mut client, 0, 0, 256 << 10).await? {
        let length = length.min((256 << 10) - at);
        ensure!(flags & !3 == 0, "unknown flags {flags:#x}");
        if flags & 2 == 2 {
            ensure!(
                client.get(at, length).await?.iter().all(|byte| *byte == 0),
                "bytes at {at} are called zero"
            );
        }
        at += length;
    }
    Ok(Yes)
}

async fn written_data_is_not_called_zero(place: &Place) -> Res<Held> {
    let mut client = client(place, &["base:allocation"]).await?;
    client.ask(ZEROES, 0, 0, 1 << 20).await?;
    client.put(0, 500_000, &[1]).await?.expect(0, "WRITE")?;
    let extents = allocation(&mut client, REQ_ONE, 500_000, 1).await?;
    ensure!(extents[0].1 & 2 == 0, "a byte that was written is called zero");
    Ok(Yes)
}

async fn no_hole_leaves_no_hole(place: &Place) -> Res<Held> {
    let mut client = client(place, &["base:allocation"]).await?;
    client.put(0, 0, &vec![1; 64 << 10]).await?.expect(0, "WRITE")?;
    client.ask(ZEROES, NO_HOLE, 0, 64 << 10).await?.expect(0, "WRITE_ZEROES with NO_HOLE")?;
    // The status of a range that is allocated but was never written is for the file system to say;
    // what counts is that writing to it again cannot run out of space, which a full disk would show.
    client.put(0, 0, &vec![2; 64 << 10]).await?.expect(0, "WRITE")?;
    let extents = allocation(&mut client, REQ_ONE, 0, 64 << 10).await?;
    ensure!(extents[0].1 & 1 == 0, "written data is called a hole");
    Ok(Yes)
}

async fn without_a_context_status_is_invalid(place: &Place) -> Res<Held> {
    let mut client = client(place, &[]).await?;
    client.ask(STATUS, 0, 0, 4096).await?.expect(EINVAL, "BLOCK_STATUS")?;
    client.ask(READ, 0, 0, 512).await?.expect(0, "READ")?;
    Ok(Yes)
}

/// Checks of the extension alone.
pub mod extended {
    use super::{
        Client, EINVAL, Held, NotOffered, PAYLOAD_LEN, Place, Res, STATUS, TRIM, Yes, ZEROES, be, checks,
        client, contexts, ensure,
    };

    checks! {
        Must "NBD_CMD_BLOCK_STATUS (ext)" a_payload_chooses_among_the_contexts;
        Must "NBD_CMD_BLOCK_STATUS (ext)" a_payload_with_wrong_contexts_is_invalid_and_taken;
        Must "NBD_FLAG_BLOCK_STATUS_PAYLOAD (ext)" the_flag_is_told_to_those_with_contexts;
        Must "Request message (ext)" effect_lengths_have_sixty_four_bits;
        Should "Request message (ext)" an_oversize_payload_ends_the_connection;
    }

    fn choice(length: u64, ids: &[u32]) -> Vec<u8> {
        let mut payload = length.to_be_bytes().to_vec();
        ids.iter().for_each(|id| payload.extend(id.to_be_bytes()));
        payload
    }

    async fn ids(client: &mut Client) -> Res<Vec<u32>> {
        let reply = client.ask(STATUS, 0, 0, 4096).await?;
        Ok(contexts(&reply, client.mode)?.iter().map(|(id, _)| *id).collect())
    }

    async fn a_payload_chooses_among_the_contexts(place: &Place) -> Res<Held> {
        let mut client = client(place, &["base:allocation", "x-cess:dirty:since-open"]).await?;
        if client.flags & (1 << 12) == 0 {
            return Ok(NotOffered);
        }
        for id in ids(&mut client).await? {
            let payload = choice(1 << 20, &[id]);
            let cookie = client.send(STATUS, PAYLOAD_LEN, 0, payload.len() as u64, &payload).await?;
            let reply = client.answer(cookie).await?;
            let told = contexts(&reply, client.mode)?;
            ensure!(told.len() == 1 && told[0].0 == id, "{told:?} instead of {id}");
        }
        Ok(Yes)
    }

    async fn a_payload_with_wrong_contexts_is_invalid_and_taken(place: &Place) -> Res<Held> {
        let mut client = client(place, &["base:allocation"]).await?;
        if client.flags & (1 << 12) == 0 {
            return Ok(NotOffered);
        }
        let id = ids(&mut client).await?[0];
        let wrong = [
            choice(4096, &[id, id]),
            choice(4096, &[id + 1000]),
            choice(4096, &vec![id; 5000]),
            be(&[&choice(4096, &[id]), &[0]]),
            choice(4096, &[]),
            vec![0; 3],
            choice(u64::MAX, &[id]),
        ];
        for payload in wrong {
            let cookie = client.send(STATUS, PAYLOAD_LEN, 0, payload.len() as u64, &payload).await?;
            client.answer(cookie).await?.expect(EINVAL, &format!("a payload of {} bytes", payload.len()))?;
            client.get(0, 512).await?;
        }
        Ok(Yes)
    }

    async fn the_flag_is_told_to_those_with_contexts(place: &Place) -> Res<Held> {
        let mut client = client(place, &[]).await?;
        ensure!(client.flags & (1 << 12) == 0, "BLOCK_STATUS_PAYLOAD without contexts");
        let payload = choice(4096, &[1]);
        let cookie = client.send(STATUS, PAYLOAD_LEN, 0, payload.len() as u64, &payload).await?;
        client.answer(cookie).await?.expect(EINVAL, "a payload that was not offered")?;
        client.get(0, 512).await?;
        Ok(Yes)
    }

    async fn effect_lengths_have_sixty_four_bits(place: &Place) -> Res<Held> {
        let mut client = client(place, &["base:allocation"]).await?;
        for (command, error) in [(TRIM, EINVAL), (ZEROES, crate::client::ENOSPC), (STATUS, EINVAL)] {
            // Cut to 32 bits these would be 512 bytes, and succeed.
            client.ask(command, 0, 0, (1 << 32) + 512).await?.expect(error, &format!("command {command}"))?;
            client.ask(command, 0, 1, u64::MAX).await?.expect(error, &format!("command {command}"))?;
        }
        Ok(Yes)
    }

    async fn an_oversize_payload_ends_the_connection(place: &Place) -> Res<Held> {
        for command in [crate::client::WRITE, STATUS, 99] {
            let mut client = client(place, &["base:allocation"]).await?;
            client.send(command, PAYLOAD_LEN, 0, 1 << 40, &[]).await?;
            client.closed().await?;
        }
        place.lives().await.map(|()| Yes)
    }
}
pub use extended::CHECKS as EXTENDED_CHECKS;
