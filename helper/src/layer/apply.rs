//! `layer.apply`: one blob becomes the files of one layer.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::Mode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::attributes::{Owners, Skipped};
use super::chunks::{self, Archive, channels};
use super::decompress::{Compression, decompress};
use super::record::Record;
use super::source::{Source, Watch};
use super::tar::{Reader, base64, limit};
use super::target::{Format, Target};
use super::write::{Devices, Writer};
use crate::error::{Failure, Result};

#[derive(Deserialize, Debug)]
pub struct Apply {
    pub source: PathBuf,
    /// Of the whole blob.
    pub size: u64,
    /// The blob is still being written.
    pub follow: bool,
    pub compression: Compression,
    pub target: PathBuf,
    pub format: Format,
    pub limits: Limits,
    pub devices: Devices,
    #[serde(default)]
    pub owners: Owners,
}

#[derive(Deserialize, Debug, Clone, Copy)]
pub struct Limits {
    /// Of the uncompressed stream, and of all files together, holes included.
    pub bytes: u64,
    pub entries: u64,
    pub ratio: u64,
}

#[derive(Serialize, Debug)]
#[serde(rename_all = "camelCase")]
pub struct Applied {
    /// Of the whole uncompressed stream, whatever follows the archive in it.
    pub diff_id: String,
    /// Length of that stream.
    pub bytes: u64,
    pub entries: u64,
    /// Directories that the layer needs but does not describe.
    pub inherited: Vec<String>,
    /// Hard links to files that this layer does not have: path, target.
    pub links: Vec<(String, String)>,
    pub skipped: Skipped,
}

const PROGRESS_EVERY: Duration = Duration::from_millis(100);

pub fn apply(args: &Apply, progress: &mut dyn FnMut(Value)) -> Result<Applied> {
    // Modes are set as they are stated.
    rustix::process::umask(Mode::empty());
    let mut writer = Writer {
        target: Target::open(&args.target, args.format)?,
        devices: args.devices,
        owners: args.owners,
        skipped: Skipped::default(),
    };
    if args.format != Format::Plain {
        writer.target.record.implied.0.insert(Vec::new(), ()); // until it is described
    }
    let watch = Arc::new(Watch::default());
    let (source, growth) = Source::open(&args.source, args.size, args.follow, watch.clone())?;

    let mut last: Option<Instant> = None;
    let mut heard = || {
        if last.is_none_or(|last| last.elapsed() >= PROGRESS_EVERY) {
            last = Some(Instant::now());
            progress(json!({ "read": watch.read.load(Ordering::Relaxed) }));
        }
    };
    let (producer, hasher, archive) = channels(&mut heard);
    let limits = chunks::Limits {
        bytes: args.limits.bytes,
        ratio: args.limits.ratio,
    };
    let (entries, diff_id, bytes) = thread::scope(|scope| {
        let watch = &*watch;
        let compression = args.compression;
        scope.spawn(move || match decompress(source, compression) {
            Ok(input) => producer.produce(input, &growth, &limits, watch),
            Err(error) => producer.fail(&error),
        });
        let hash = scope.spawn(move || hasher.hash());
        let written = write_all(&mut writer, archive, &args.limits);
        watch.stop.store(true, Ordering::Relaxed);
        let (diff_id, bytes) = hash.join().map_err(|_| Failure::new("hash the layer"))?;
        Ok::<_, Failure>((written?, diff_id, bytes))
    })?;
    progress(json!({ "read": watch.read.load(Ordering::Relaxed) }));

    let (inherited, links) = leftovers(&writer.target.record)?;
    Ok(Applied {
        diff_id,
        bytes,
        entries,
        inherited,
        links,
        skipped: writer.skipped,
    })
}

fn write_all(writer: &mut Writer, archive: Archive<'_>, limits: &Limits) -> Result<u64> {
    let mut reader = Reader::new(archive);
    let (mut entries, mut bytes) = (0, 0u64);
    while let Some(entry) = reader.next()? {
        entries += 1;
        bytes = bytes.saturating_add(entry.size);
        let checked = if entries > limits.entries {
            Err(limit(format!(
                "the layer has more than {} entries",
                limits.entries
            )))
        } else if bytes > limits.bytes {
            Err(limit(format!(
                "the layer's files are larger than {} bytes",
                limits.bytes
            )))
        } else {
            writer.write(&entry, &mut reader)
        };
        checked.map_err(|failure| match failure.path {
            Some(_) => failure,
            None => failure.path(String::from_utf8_lossy(&entry.path).as_ref()),
        })?;
    }
    reader.drain()?;
    writer.target.finish_times()?;
    Ok(entries)
}

/// More would not fit into an answer.
const MAX_LEFTOVERS: usize = 8 << 20;

/// What `layer.inherit` has to complete.
type Leftovers = (Vec<String>, Vec<(String, String)>);

fn leftovers(record: &Record) -> Result<Leftovers> {
    let mut links: Vec<_> = record.links.0.iter().collect();
    links.sort_by_key(|(_, (order, _))| *order);
    let implied = record.implied.0.keys().map(Vec::len);
    let linked = links
        .iter()
        .map(|(path, (_, target))| path.len() + target.len());
    if implied.chain(linked).sum::<usize>() > MAX_LEFTOVERS {
        return Err(limit(
            "the layer leaves too many files to the layers below it",
        ));
    }
    let inherited = match record.ours {
        None => record
            .implied
            .0
            .keys()
            .map(|path| base64::encode(shown(path)))
            .collect(),
        Some(_) => Vec::new(), // what the parents do not have there is new
    };
    let pair = |(path, (_, target)): &(&Vec<u8>, &(usize, Vec<u8>))| {
        (base64::encode(path), base64::encode(target))
    };
    Ok((inherited, links.iter().map(pair).collect()))
}

/// The root has a name, too.
fn shown(path: &[u8]) -> &[u8] {
    if path.is_empty() { b"." } else { path }
}
