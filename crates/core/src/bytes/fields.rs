//! Fields of requests and responses, flexible or not, as the two wires need them.
//!
//! Stations: request, response. Counts are checked against the bytes that remain before anything is allocated. References:
//! KIP-482 (flexible versions and tags), KIP-951.

use bytes::Bytes;

use crate::bytes::varint::{Reader, write_uvarint};
use crate::error::DecodeError;

/// Fields of a message that is flexible or not.
pub struct Fields<'a> {
    pub reader: Reader<'a>,
    flexible: bool,
    /// Name of the API for errors.
    api: &'static str,
}

impl<'a> Fields<'a> {
    pub fn new(data: &'a [u8], flexible: bool, api: &'static str) -> Self {
        Self {
            reader: Reader::new(data),
            flexible,
            api,
        }
    }

    /// An array's count, checked against the bytes that remain; a null array counts as empty.
    pub fn count(&mut self, least_bytes: usize) -> Result<usize, DecodeError> {
        let count = if self.flexible {
            i64::from(self.reader.uvarint()?) - 1
        } else {
            i64::from(self.reader.i32()?)
        };
        let most = self.reader.remaining() / least_bytes;
        match usize::try_from(count.max(0)) {
            Ok(count) if count <= most => Ok(count),
            _ => Err(DecodeError::corrupt(
                "array of a response",
                format!("at most {most} in {}", self.api),
                count,
            )),
        }
    }

    pub fn string(&mut self) -> Result<Option<String>, DecodeError> {
        let len = if self.flexible {
            i64::from(self.reader.uvarint()?) - 1
        } else {
            i64::from(self.reader.i16()?)
        };
        let Ok(len) = usize::try_from(len) else {
            return Ok(None);
        };
        let bytes = self.reader.bytes(len)?;
        Ok(Some(String::from_utf8_lossy(bytes).into_owned()))
    }

    /// Records as a slice of the frame that is being read; null counts as empty.
    pub fn records(&mut self, frame: &Bytes) -> Result<Bytes, DecodeError> {
        let len = if self.flexible {
            i64::from(self.reader.uvarint()?) - 1
        } else {
            i64::from(self.reader.i32()?)
        };
        let Ok(len) = usize::try_from(len) else {
            return Ok(Bytes::new());
        };
        let start = self.reader.position();
        self.reader.bytes(len)?;
        Ok(frame.slice(start..start + len))
    }

    pub fn skip_tags(&mut self) -> Result<(), DecodeError> {
        self.tags(|_, _| Ok(()))
    }

    pub fn tags(
        &mut self,
        mut each: impl FnMut(u32, &mut Fields<'a>) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        if !self.flexible {
            return Ok(());
        }
        for _ in 0..self.reader.uvarint()? {
            let tag = self.reader.uvarint()?;
            let size = self.reader.uvarint()? as usize;
            let mut field = Fields::new(self.reader.bytes(size)?, true, self.api);
            each(tag, &mut field)?;
        }
        Ok(())
    }

    /// The tags of a whole response; one of them has the addresses of the leaders that its partitions name (KIP-951).
    pub fn node_endpoints(&mut self) -> Result<Vec<NodeEndpoint>, DecodeError> {
        let mut nodes = Vec::new();
        self.tags(|tag, field| {
            if tag == 0 {
                for _ in 0..field.count(11)? {
                    let node = field.reader.i32()?;
                    let host = field.string()?.unwrap_or_default();
                    let port = field.reader.i32()?;
                    field.string()?;
                    field.skip_tags()?;
                    nodes.push((node, host, port));
                }
            }
            Ok(())
        })?;
        Ok(nodes)
    }
}

/// Node id, host, port.
pub type NodeEndpoint = (i32, String, i32);

pub fn write_string(out: &mut Vec<u8>, text: Option<&str>, flexible: bool) {
    match (text, flexible) {
        (None, true) => out.push(0),
        (None, false) => out.extend_from_slice(&(-1i16).to_be_bytes()),
        (Some(text), true) => write_uvarint(out, text.len() as u32 + 1),
        (Some(text), false) => out.extend_from_slice(&(text.len() as i16).to_be_bytes()),
    }
    out.extend_from_slice(text.unwrap_or_default().as_bytes());
}

pub fn write_count(out: &mut Vec<u8>, count: usize, flexible: bool) {
    if flexible {
        write_uvarint(out, count as u32 + 1);
    } else {
        out.extend_from_slice(&(count as i32).to_be_bytes());
    }
}

/// Ends a structure.
pub fn write_no_tags(out: &mut Vec<u8>, flexible: bool) {
    if flexible {
        out.push(0);
    }
}
