//! Pages of listings over everything that was filled, at random places.

use std::time::Instant;

use gw_store::{ListRequest, ListStart};

use super::fill::{DIRECTORIES, World, object_name};
use super::report::{Lists, Paged, Times};
use super::{Error, Result};
use crate::s3load::histogram::Histogram;
use crate::s3load::process;
use crate::s3load::units::Chance;

/// Pages of each kind.
const PAGES: u64 = 400;
/// Entries of a page.
const PAGE: usize = 1000;

/// Pages of a thousand: keys from anywhere, the contents of a directory, and the directories.
pub async fn lists(world: &World, objects: u64) -> Result<Lists> {
    let mut chance = Chance::new(7);
    let mut paged = async |shape: &dyn Fn(u64, &mut ListRequest)| -> Result<Paged> {
        let mut times = Histogram::default();
        let before = process::look(std::process::id()).unwrap_or_default();
        let mut entries = 0;
        for _ in 0..PAGES {
            let mut request = ListRequest { max: PAGE, ..ListRequest::new(world.bucket.clone()) };
            shape(chance.below(objects), &mut request);
            let started = Instant::now();
            let page = world.store.list(&world.who, request).await?;
            times.add(started.elapsed());
            entries += (page.entries.len() + page.common_prefixes.len()) as u64;
        }
        let after = process::look(std::process::id()).unwrap_or_default();
        if entries == 0 {
            return Err(Error::Wrong("the pages of a listing are empty".to_owned()));
        }
        let cpu_us = after.cpu.saturating_sub(before.cpu).as_micros() as f64 / PAGES as f64;
        Ok(Paged { times: Times::of(&times), cpu_us, entries: entries as f64 / PAGES as f64 })
    };
    let keys = paged(&|number, request| request.start = ListStart::After(object_name(number))).await?;
    let directory = paged(&|number, request| {
        request.prefix = format!("tenants/{:03}/documents/", number % DIRECTORIES);
        request.delimiter = Some("/".to_owned());
    })
    .await?;
    let directories = paged(&|_, request| {
        request.prefix = "tenants/".to_owned();
        request.delimiter = Some("/".to_owned());
    })
    .await?;
    Ok(Lists { keys, directory, directories })
}
