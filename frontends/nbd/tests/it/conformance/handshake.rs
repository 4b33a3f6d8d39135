//! The handshake: greeting, flags, options and their replies.

use super::Held::{self, NotOffered, Yes};
use super::{Place, checks, ensure};
use crate::client::{
    ACK, Client, EINVAL, ERR, EXT_HEADER_REQD, INFO, INVALID, META, Mode, Res, SERVER, STATUS, TLS_REQD,
    UNKNOWN, UNSUP, be, info_data, meta_data,
};

checks! {
    Must "Newstyle negotiation" the_greeting_has_both_magics_and_fixed_newstyle;
    Must "Handshake flags" no_other_handshake_flag_is_set;
    Must "Client flags" an_unknown_client_flag_ends_the_connection;
    Must "NBD_OPT_EXPORT_NAME" export_name_answers_with_124_zeroes;
    Must "Client flags" export_name_answers_without_zeroes_when_asked_to;
    Must "NBD_OPT_EXPORT_NAME" export_name_of_nothing_ends_the_session;
    Must "NBD_OPT_ABORT" abort_is_acknowledged;
    Should "NBD_OPT_ABORT" abort_with_data_is_acknowledged_too;
    Should "NBD_OPT_ABORT" abort_without_waiting_harms_nobody;
    Must "NBD_OPT_LIST" list_names_the_export_and_ends_with_ack;
    Should "NBD_OPT_LIST" list_with_data_is_invalid;
    Must "Baseline" unknown_options_are_unsupported_and_the_next_one_is_understood;
    Must "NBD_OPT_INFO and NBD_OPT_GO" go_begins_the_transmission_without_zeroes;
    Must "NBD_OPT_INFO and NBD_OPT_GO" info_says_what_go_says;
    Must "NBD_OPT_INFO and NBD_OPT_GO" an_unknown_export_is_unknown;
    Must "NBD_OPT_INFO and NBD_OPT_GO" unknown_information_requests_are_ignored;
    Must "NBD_REP_INFO" information_has_its_lengths;
    Must "Size constraints" block_sizes_are_powers_of_two_in_their_bounds;
    Must "NBD_OPT_INFO and NBD_OPT_GO" malformed_info_is_an_error_and_the_session_goes_on;
    Must "Transmission flags" flags_are_those_of_what_was_negotiated;
    Should "NBD_OPT_STRUCTURED_REPLY" structured_reply_with_data_is_invalid;
    Should "NBD_OPT_SET_META_CONTEXT" contexts_need_structured_replies;
    Must "NBD_OPT_LIST_META_CONTEXT" all_contexts_are_listed_without_a_query;
    Must "The base: metadata namespace" base_is_a_wildcard_in_lists_only;
    Must "NBD_OPT_LIST_META_CONTEXT" unknown_namespaces_and_leaves_are_ignored;
    Must "NBD_OPT_LIST_META_CONTEXT" queries_beyond_the_data_are_invalid;
    Must "NBD_OPT_SET_META_CONTEXT" each_selected_context_has_an_id_of_its_own;
    Must "NBD_OPT_SET_META_CONTEXT" a_selection_replaces_the_one_before_even_when_it_fails;
    Should "Metadata querying" a_selection_counts_for_its_export_only;
    Must "NOTLS mode" without_tls_starttls_is_refused_and_nothing_demands_it;
    Must "Conventions" overlong_and_broken_names_are_errors;
    Project "Fixed newstyle negotiation" a_wrong_magic_ends_the_session;
    Project "Fixed newstyle negotiation" clients_that_leave_in_the_middle_harm_nobody;
    Project "Fixed newstyle negotiation" an_option_of_four_gigabytes_is_not_read;
    Should "NBD_OPT_EXTENDED_HEADERS" extended_headers_with_data_are_invalid;
    Should "NBD_OPT_EXTENDED_HEADERS" extended_headers_need_no_structured_replies;
    Must "NBD_OPT_STRUCTURED_REPLY (ext)" extended_headers_take_precedence;
}

async fn the_greeting_has_both_magics_and_fixed_newstyle(place: &Place) -> Res<Held> {
    let greeting = Client::connect(&place.target).await?.read(18).await?;
    ensure!(greeting[..16] == *b"NBDMAGICIHAVEOPT", "the greeting is {greeting:?}");
    ensure!(greeting[17] & 1 == 1, "NBD_FLAG_FIXED_NEWSTYLE is not set");
    Ok(Yes)
}

async fn no_other_handshake_flag_is_set(place: &Place) -> Res<Held> {
    let greeting = Client::connect(&place.target).await?.read(18).await?;
    ensure!(greeting[16] == 0 && greeting[17] & !3 == 0, "the flags are {:?}", &greeting[16..]);
    Ok(if greeting[17] & 2 == 2 { Yes } else { NotOffered })
}

async fn an_unknown_client_flag_ends_the_connection(place: &Place) -> Res<Held> {
    for flags in [1 << 2, 1 << 31 | 3, u32::MAX] {
        Client::greeted(&place.target, flags).await?.closed().await?;
    }
    place.lives().await.map(|()| Yes)
}

async fn export_name(place: &Place, flags: u32, zeroes: usize) -> Res<Held> {
    let mut client = Client::greeted(&place.target, flags).await?;
    client.send_opt(1, place.export.as_bytes()).await?;
    let answer = client.read(10 + zeroes).await?;
    ensure!(answer[9] & 1 == 1, "NBD_FLAG_HAS_FLAGS is not set");
    ensure!(answer[8] == 0 || answer[9] & 128 == 0, "NBD_FLAG_SEND_DF without structured replies");
    ensure!(answer[10..].iter().all(|byte| *byte == 0), "the zeroes are none");
    client.get(0, 512).await?;
    Ok(Yes)
}

async fn export_name_answers_with_124_zeroes(place: &Place) -> Res<Held> {
    export_name(place, 1, 124).await?;
    export_name(place, 0, 124).await
}

async fn export_name_answers_without_zeroes_when_asked_to(place: &Place) -> Res<Held> {
    export_name(place, 3, 0).await
}

async fn export_name_of_nothing_ends_the_session(place: &Place) -> Res<Held> {
    let mut client = place.greeted().await?;
    client.send_opt(1, b"there is no such export").await?;
    client.closed().await.map(|()| Yes)
}

async fn abort_is_acknowledged(place: &Place) -> Res<Held> {
    let mut client = place.greeted().await?;
    ensure!(client.opt_end(2, &[]).await? == ACK, "ABORT is not acknowledged");
    client.closed().await.map(|()| Yes)
}

async fn abort_with_data_is_acknowledged_too(place: &Place) -> Res<Held> {
    ensure!(place.greeted().await?.opt_end(2, b"why not").await? == ACK, "ABORT with data is refused");
    Ok(Yes)
}

async fn abort_without_waiting_harms_nobody(place: &Place) -> Res<Held> {
    place.greeted().await?.send_opt(2, &[]).await?;
    place.lives().await.map(|()| Yes)
}

async fn list_names_the_export_and_ends_with_ack(place: &Place) -> Res<Held> {
    let replies = place.greeted().await?.opt(3, &[]).await?;
    let (end, servers) = replies.split_last().ok_or("no reply")?;
    ensure!(end.kind == ACK && end.data.is_empty(), "the list ends with {end:?}");
    let name = |data: &[u8]| -> Option<Vec<u8>> {
        let len = u32::from_be_bytes(data.get(..4)?.try_into().ok()?) as usize;
        data.get(4..4 + len).map(<[u8]>::to_vec)
    };
    ensure!(servers.iter().all(|reply| reply.kind == SERVER && name(&reply.data).is_some()), "{servers:?}");
    let listed = servers.iter().any(|reply| name(&reply.data).as_deref() == Some(place.export.as_bytes()));
    ensure!(listed, "{:?} is not in the list", place.export);
    Ok(Yes)
}

async fn list_with_data_is_invalid(place: &Place) -> Res<Held> {
    let end = place.greeted().await?.opt_end(3, b"x").await?;
    ensure!(end == INVALID, "LIST with data: {end:#x}");
    Ok(Yes)
}

async fn unknown_options_are_unsupported_and_the_next_one_is_understood(place: &Place) -> Res<Held> {
    let mut client = place.greeted().await?;
    for option in [0, 4, 12, 0x7fff_ffff, u32::MAX] {
        let end = client.opt_end(option, &[7; 300]).await?;
        ensure!(end == UNSUP, "option {option}: {end:#x}");
    }
    client.go(&place.export).await.map(|()| Yes)
}

async fn go_begins_the_transmission_without_zeroes(place: &Place) -> Res<Held> {
    let mut client = Client::greeted(&place.target, 1).await?;
    client.go(&place.export).await?;
    client.get(0, 512).await?;
    Ok(Yes)
}

async fn info_says_what_go_says(place: &Place) -> Res<Held> {
    for mode in [Mode::Simple, Mode::Structured] {
        let mut client = place.greeted().await?;
        client.negotiate(mode).await?;
        let data = info_data(&place.export, &[0, 1, 2, 3]);
        let sorted = |replies: Vec<crate::client::OptReply>| {
            let mut told: Vec<_> = replies.into_iter().map(|reply| (reply.kind, reply.data)).collect();
            told.sort();
            told
        };
        let (info, go) = (client.opt(6, &data).await?, client.opt(7, &data).await?);
        ensure!(info.last().map(|end| end.kind) == Some(ACK), "INFO: {info:?}");
        let (info, go) = (sorted(info), sorted(go));
        ensure!(info == go, "INFO and GO differ: {info:?} {go:?}");
    }
    Ok(Yes)
}

async fn an_unknown_export_is_unknown(place: &Place) -> Res<Held> {
    let mut client = place.greeted().await?;
    for option in [6, 7] {
        let replies = client.opt(option, &info_data("there is no such export", &[3])).await?;
        ensure!(replies.len() == 1 && replies[0].kind == UNKNOWN, "{replies:?}");
    }
    client.go(&place.export).await.map(|()| Yes)
}

async fn unknown_information_requests_are_ignored(place: &Place) -> Res<Held> {
    let replies = place.greeted().await?.opt(6, &info_data(&place.export, &[4, 77, 0xffff])).await?;
    ensure!(replies.last().map(|end| end.kind) == Some(ACK), "{replies:?}");
    Ok(Yes)
}

async fn information_has_its_lengths(place: &Place) -> Res<Held> {
    let replies = place.greeted().await?.opt(6, &info_data(&place.export, &[0, 1, 2, 3])).await?;
    let (end, told) = replies.split_last().ok_or("no reply")?;
    ensure!(end.kind == ACK && end.data.is_empty(), "{end:?}");
    let mut seen = Vec::new();
    for reply in told {
        ensure!(reply.kind == INFO && reply.data.len() >= 2, "{reply:?}");
        let kind = u16::from_be_bytes([reply.data[0], reply.data[1]]);
        let fits = match kind {
            0 => reply.data.len() == 12,
            3 => reply.data.len() == 14,
            1 | 2 => std::str::from_utf8(&reply.data[2..]).is_ok(),
            _ => true,
        };
        ensure!(fits && !seen.contains(&kind), "information {kind}: {reply:?}");
        seen.push(kind);
    }
    ensure!(seen.contains(&0), "NBD_INFO_EXPORT is missing");
    Ok(Yes)
}

async fn block_sizes_are_powers_of_two_in_their_bounds(place: &Place) -> Res<Held> {
    let replies = place.greeted().await?.opt(6, &info_data(&place.export, &[3])).await?;
    let Some(told) = replies.iter().find(|reply| reply.kind == INFO && reply.data[..2] == [0, 3]) else {
        return Ok(NotOffered);
    };
    let size = |at: usize| u32::from_be_bytes(told.data[at..at + 4].try_into().unwrap_or_default());
    let (minimum, preferred, payload) = (size(2), size(6), size(10));
    ensure!(minimum.is_power_of_two() && minimum <= 65536, "minimum {minimum}");
    ensure!(preferred.is_power_of_two() && preferred >= minimum.max(512), "preferred {preferred}");
    ensure!(payload >= preferred.max(1 << 20), "payload {payload}");
    Ok(Yes)
}

async fn malformed_info_is_an_error_and_the_session_goes_on(place: &Place) -> Res<Held> {
    let mut client = place.greeted().await?;
    let good = info_data(&place.export, &[3]);
    let mut bad: Vec<Vec<u8>> = (0..good.len()).map(|end| good[..end].to_vec()).collect();
    bad.push(be(&[&good, b"more"]));
    bad.push(be(&[&u32::MAX.to_be_bytes(), &good[4..]]));
    for data in bad {
        for option in [6, 7] {
            let end = client.opt_end(option, &data).await?;
            ensure!(end & ERR != 0, "option {option} with {data:?}: {end:#x}");
        }
    }
    client.go(&place.export).await.map(|()| Yes)
}

async fn flags_are_those_of_what_was_negotiated(place: &Place) -> Res<Held> {
    for (mode, df) in [(Mode::Simple, false), (Mode::Structured, true), (Mode::Extended, true)] {
        let client = Client::attached(&place.target, &place.export, mode, &[]).await?;
        ensure!(client.flags & 1 == 1, "NBD_FLAG_HAS_FLAGS is not set");
        ensure!((client.flags & 128 != 0) == df, "{mode:?}: flags {:#x}", client.flags);
        ensure!(client.flags & (1 << 12) == 0, "BLOCK_STATUS_PAYLOAD without contexts");
        ensure!(client.flags & 0xe200 == 0, "unknown flags {:#x}", client.flags);
        ensure!(client.flags & 64 != 0 || client.flags & 2048 == 0, "FAST_ZERO without WRITE_ZEROES");
    }
    Ok(Yes)
}

async fn structured_reply_with_data_is_invalid(place: &Place) -> Res<Held> {
    let end = place.greeted().await?.opt_end(8, b"x").await?;
    ensure!(end == INVALID, "STRUCTURED_REPLY with data: {end:#x}");
    Ok(Yes)
}

async fn contexts_need_structured_replies(place: &Place) -> Res<Held> {
    let end = place.greeted().await?.opt_end(10, &meta_data(&place.export, &["base:allocation"])).await?;
    ensure!(end == INVALID || end == EXT_HEADER_REQD, "SET_META_CONTEXT first: {end:#x}");
    Ok(Yes)
}

/// The names and ids of a reply to a query.
async fn contexts(client: &mut Client, option: u32, data: &[u8]) -> Res<Vec<(u32, String)>> {
    let replies = client.opt(option, data).await?;
    let (end, told) = replies.split_last().ok_or("no reply")?;
    ensure!(end.kind == ACK, "{end:?}");
    ensure!(told.iter().all(|reply| reply.kind == META && reply.data.len() > 4), "{told:?}");
    let parsed = |data: &[u8]| {
        let id = u32::from_be_bytes(data[..4].try_into().map_err(|_| "no id")?);
        Ok((id, String::from_utf8(data[4..].to_vec()).map_err(|error| error.to_string())?))
    };
    told.iter().map(|reply| parsed(&reply.data)).collect()
}

async fn structured(place: &Place) -> Res<Client> {
    let mut client = place.greeted().await?;
    client.negotiate(Mode::Structured).await?;
    Ok(client)
}

async fn all_contexts_are_listed_without_a_query(place: &Place) -> Res<Held> {
    let listed = contexts(&mut structured(place).await?, 9, &meta_data(&place.export, &[])).await?;
    ensure!(listed.iter().all(|(_, name)| name.contains(':')), "{listed:?}");
    Ok(if listed.iter().any(|(_, name)| name == "base:allocation") { Yes } else { NotOffered })
}

async fn base_is_a_wildcard_in_lists_only(place: &Place) -> Res<Held> {
    let mut client = structured(place).await?;
    let query = meta_data(&place.export, &["base:"]);
    let listed = contexts(&mut client, 9, &query).await?;
    ensure!(listed.len() == 1 && listed[0].1 == "base:allocation", "base: lists {listed:?}");
    let selected = contexts(&mut client, 10, &query).await?;
    ensure!(selected.is_empty(), "base: selects {selected:?}");
    Ok(Yes)
}

async fn unknown_namespaces_and_leaves_are_ignored(place: &Place) -> Res<Held> {
    let mut client = structured(place).await?;
    for option in [9, 10] {
        let query = meta_data(&place.export, &["x-nobody:knows", "base:unknown", "x-cess:nothing"]);
        let found = contexts(&mut client, option, &query).await?;
        ensure!(found.is_empty(), "option {option} finds {found:?}");
    }
    let found = contexts(&mut client, 10, &meta_data(&place.export, &[])).await?;
    ensure!(found.is_empty(), "no query selects {found:?}");
    Ok(Yes)
}

async fn queries_beyond_the_data_are_invalid(place: &Place) -> Res<Held> {
    let mut client = structured(place).await?;
    let good = meta_data(&place.export, &["base:allocation"]);
    for option in [9, 10] {
        for end in 0..good.len() {
            let end_kind = client.opt_end(option, &good[..end]).await?;
            ensure!(end_kind == INVALID, "option {option} cut at {end}: {end_kind:#x}");
        }
        let more = be(&[&good, b"more"]);
        ensure!(client.opt_end(option, &more).await? == INVALID, "option {option} with a rest");
    }
    client.go(&place.export).await.map(|()| Yes)
}

async fn each_selected_context_has_an_id_of_its_own(place: &Place) -> Res<Held> {
    let mut client = structured(place).await?;
    let all = contexts(&mut client, 9, &meta_data(&place.export, &[])).await?;
    let queries: Vec<&str> = all.iter().chain(&all).map(|(_, name)| name.as_str()).collect();
    let selected = contexts(&mut client, 10, &meta_data(&place.export, &queries)).await?;
    let mut ids: Vec<u32> = selected.iter().map(|(id, _)| *id).collect();
    ids.sort_unstable();
    ids.dedup();
    ensure!(ids.len() == selected.len() && ids.len() == all.len(), "{selected:?} of {all:?}");
    Ok(Yes)
}

async fn a_selection_replaces_the_one_before_even_when_it_fails(place: &Place) -> Res<Held> {
    let good = meta_data(&place.export, &["base:allocation"]);
    for bad in [
        &good[..good.len() - 1],
        &meta_data(&place.export, &[]),
        &meta_data("no such export", &["base:allocation"]),
    ] {
        let mut client = structured(place).await?;
        client.opt(10, &good).await?;
        client.opt(10, bad).await?;
        client.go(&place.export).await?;
        client.ask(STATUS, 0, 0, 4096).await?.expect(EINVAL, "BLOCK_STATUS without a context")?;
    }
    Ok(Yes)
}

async fn a_selection_counts_for_its_export_only(place: &Place) -> Res<Held> {
    let replies = place.greeted().await?.opt(3, &[]).await?;
    let names = replies.iter().filter(|reply| reply.kind == SERVER).filter_map(|reply| {
        let len = u32::from_be_bytes(reply.data[..4].try_into().ok()?) as usize;
        String::from_utf8(reply.data[4..4 + len].to_vec()).ok()
    });
    let Some(other) = names.into_iter().find(|name| *name != place.export) else { return Ok(NotOffered) };
    let mut client = structured(place).await?;
    client.opt(10, &meta_data(&place.export, &["base:allocation"])).await?;
    client.go(&other).await?;
    client.ask(STATUS, 0, 0, 4096).await?.expect(EINVAL, "BLOCK_STATUS with another export's context")?;
    Ok(Yes)
}

async fn without_tls_starttls_is_refused_and_nothing_demands_it(place: &Place) -> Res<Held> {
    let mut client = place.greeted().await?;
    let end = client.opt_end(5, &[]).await?;
    ensure!(end & ERR != 0 && end != TLS_REQD, "STARTTLS: {end:#x}");
    client.go(&place.export).await.map(|()| Yes)
}

async fn overlong_and_broken_names_are_errors(place: &Place) -> Res<Held> {
    let mut client = place.greeted().await?;
    let long = "n".repeat(4097);
    for name in [long.as_str(), "a\0b"] {
        let end = client.opt_end(6, &info_data(name, &[])).await?;
        ensure!(end & ERR != 0, "INFO: {end:#x}");
    }
    client.go(&place.export).await.map(|()| Yes)
}

async fn a_wrong_magic_ends_the_session(place: &Place) -> Res<Held> {
    let mut client = place.greeted().await?;
    client.write(&[0x55; 16]).await?;
    client.closed().await?;
    place.lives().await.map(|()| Yes)
}

async fn clients_that_leave_in_the_middle_harm_nobody(place: &Place) -> Res<Held> {
    let option =
        be(&[&crate::client::IHAVEOPT.to_be_bytes(), &7_u32.to_be_bytes(), &100_u32.to_be_bytes(), b"half"]);
    for end in 0..option.len() {
        place.greeted().await?.write(&option[..end]).await?;
    }
    place.lives().await.map(|()| Yes)
}

async fn an_option_of_four_gigabytes_is_not_read(place: &Place) -> Res<Held> {
    let mut client = place.greeted().await?;
    let header = [&crate::client::IHAVEOPT.to_be_bytes()[..], &3_u32.to_be_bytes(), &u32::MAX.to_be_bytes()];
    client.write(&be(&header)).await?;
    client.closed().await?;
    place.lives().await.map(|()| Yes)
}

async fn extended_headers_with_data_are_invalid(place: &Place) -> Res<Held> {
    match place.greeted().await?.opt_end(11, b"x").await? {
        INVALID => Ok(Yes),
        UNSUP => Ok(NotOffered),
        end => Err(format!("EXTENDED_HEADERS with data: {end:#x}")),
    }
}

async fn extended_headers_need_no_structured_replies(place: &Place) -> Res<Held> {
    match place.greeted().await?.opt_end(11, &[]).await? {
        ACK => Ok(Yes),
        UNSUP => Ok(NotOffered),
        end => Err(format!("EXTENDED_HEADERS: {end:#x}")),
    }
}

async fn extended_headers_take_precedence(place: &Place) -> Res<Held> {
    let mut client = place.greeted().await?;
    if client.opt_end(11, &[]).await? != ACK {
        return Ok(NotOffered);
    }
    let end = client.opt_end(8, &[]).await?;
    ensure!(end == EXT_HEADER_REQD, "STRUCTURED_REPLY after EXTENDED_HEADERS: {end:#x}");
    client.mode = Mode::Extended;
    client.go(&place.export).await?;
    client.get(0, 512).await?;
    Ok(Yes)
}
