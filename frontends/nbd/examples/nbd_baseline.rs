//! The server of the `nbd` crate in front of a file or of memory: a baseline for measurements.
//!
//! `nbd_baseline ADDR:PORT FILE` or `nbd_baseline ADDR:PORT memory BYTES`. A thread a connection,
//! one request at a time, simple replies; memory is one buffer behind one lock.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program speaks to a terminal")]

use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use nbd::Export;
use nbd::server::{handshake, transmission};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let address = args.first().ok_or("nbd_baseline ADDR:PORT FILE | ADDR:PORT memory BYTES")?;
    let place = args.get(1).ok_or("a file, or memory and its size")?;
    let memory = match (place.as_str(), args.get(2)) {
        ("memory", Some(bytes)) => Some(Memory::new(bytes.parse()?)),
        _ => None,
    };
    let listener = TcpListener::bind(address)?;
    println!("listening on {}", listener.local_addr()?);
    for stream in listener.incoming() {
        let stream = stream?;
        stream.set_nodelay(true)?;
        match &memory {
            Some(memory) => spawn(stream, memory.size, memory.clone()),
            None => {
                let file = OpenOptions::new().read(true).write(true).open(place)?;
                let size = File::metadata(&file)?.len();
                spawn(stream, size, file);
            }
        }
    }
    Ok(())
}

fn spawn<D: Read + Write + Seek + Send + 'static>(mut stream: TcpStream, size: u64, device: D) {
    std::thread::spawn(move || {
        let export = |_: &str| Ok(Export { size, send_flush: true, ..Export::<()>::default() });
        let served = handshake(&mut stream, export).and_then(|_| transmission(&mut stream, device));
        if let Err(error) = served {
            eprintln!("a connection ended: {error}");
        }
    });
}

/// A buffer that all connections share.
#[derive(Clone)]
struct Memory {
    bytes: Arc<Mutex<Vec<u8>>>,
    size: u64,
    at: u64,
}

impl Memory {
    fn new(size: u64) -> Self {
        let len = usize::try_from(size).expect("a size that fits into memory");
        Self { bytes: Arc::new(Mutex::new(vec![0; len])), size, at: 0 }
    }
    fn with<T>(&mut self, act: impl FnOnce(&mut Cursor<&mut [u8]>) -> io::Result<T>) -> io::Result<T> {
        let mut bytes = self.bytes.lock().map_err(|_| io::Error::other("poisoned"))?;
        let mut cursor = Cursor::new(bytes.as_mut_slice());
        cursor.set_position(self.at);
        let result = act(&mut cursor)?;
        self.at = cursor.position();
        Ok(result)
    }
}

impl Read for Memory {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.with(|cursor| cursor.read(buffer))
    }
}

impl Write for Memory {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.with(|cursor| cursor.write(buffer))
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Memory {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = self.with(|cursor| cursor.seek(to))?;
        Ok(self.at)
    }
}
