//! One connection: its socket, its write queue, its frame reader, and the requests that wait for an answer.
//!
//! Both owners of requests (Python's control requests and a flow) share one queue of outstanding requests, because a
//! broker answers in the order of the requests. Any error here ends the connection; nothing is retried.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::sync::Arc;

use bytes::Bytes;
use ottla_core::ids::{ConnId, Micros};
use ottla_core::seam::{Flow, LostCause, LostKind, OutRequest};

use crate::api_names::api_name;
use crate::frame::{self, BadLength, FrameReader, Read};
use crate::shared::{BeatId, FlowId, IoEvent, Shared, add};
use crate::transport::{Dial, Transport};
use crate::write_queue::WriteQueue;

/// Bytes read and written for one connection before the others get their turn.
const TURN_BYTES: usize = 1 << 20;

/// A flow is asked for more requests only while fewer bytes than this wait to be written: until then its batches can still grow.
const HIGH_WATER_BYTES: usize = 1 << 20;

/// Requests of a flow started in one turn.
const TURN_REQUESTS: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    Control(u64),
    Flow(FlowId, u64),
    Beat(BeatId, usize),
}

#[derive(Debug)]
struct Outstanding {
    correlation_id: i32,
    owner: Owner,
    api_key: i16,
    sent: Micros,
    deadline: Micros,
    answer_bytes: usize,
}

/// A request that is never answered; its deadline is for the socket to take it.
#[derive(Debug)]
struct OneWay {
    position: u64,
    owner: Owner,
    api_key: i16,
    sent: Micros,
    deadline: Micros,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Connecting {
        deadline: Micros,
        timeout: Micros,
    },
    /// TCP is established, TLS is not.
    Handshaking {
        deadline: Micros,
        timeout: Micros,
    },
    Connected,
}

/// A flow and its id, as a connection is attached to it.
pub(crate) struct Attached {
    pub id: FlowId,
    pub machine: Arc<dyn Flow>,
}

pub(crate) struct Connection {
    id: ConnId,
    pub transport: Transport,
    phase: Phase,
    pub readable: bool,
    pub writable: bool,
    /// The peer has closed its side: the remaining bytes are read to the end.
    pub read_closed: bool,
    reader: FrameReader,
    queue: WriteQueue,
    outstanding: VecDeque<Outstanding>,
    one_way: VecDeque<OneWay>,
    next_correlation_id: i32,
    pub flow: Option<Attached>,
    /// The flow may have more requests: it was not asked until it returned none.
    more_to_pump: bool,
}

/// Result of a step, in addition to its events.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The flow of the connection was answered.
    pub answered_flow: bool,
    /// Its share of the turn is used up; there may be more.
    pub more: bool,
}

impl Connection {
    pub fn dial(
        id: ConnId,
        dial: &Dial,
        deadline: Micros,
        timeout: Micros,
        frame_cap_bytes: usize,
        shared: &Shared,
    ) -> Result<Self, LostCause> {
        let transport = Transport::dial(dial)
            .map_err(|error| lost_cause(LostKind::Connect, error.to_string()))?;
        Ok(Self {
            id,
            transport,
            phase: Phase::Connecting { deadline, timeout },
            readable: false,
            writable: false,
            read_closed: false,
            reader: FrameReader::new(shared.pool.clone(), frame_cap_bytes),
            queue: WriteQueue::default(),
            outstanding: VecDeque::new(),
            one_way: VecDeque::new(),
            next_correlation_id: 1,
            flow: None,
            more_to_pump: false,
        })
    }

    /// Earliest deadline of the connection and its requests.
    pub fn next_deadline(&self) -> Option<Micros> {
        let connect = match self.phase {
            Phase::Connecting { deadline, .. } | Phase::Handshaking { deadline, .. } => {
                Some(deadline)
            }
            Phase::Connected => None,
        };
        let answers = self.outstanding.iter().map(|request| request.deadline);
        let departures = self.one_way.iter().map(|request| request.deadline);
        connect.into_iter().chain(answers).chain(departures).min()
    }

    /// Cause of the loss if a deadline has passed at `now`, with the beat if its answer is late.
    pub fn expired(&mut self, shared: &Shared, now: Micros) -> Option<(LostCause, Option<BeatId>)> {
        if let Phase::Handshaking { deadline, timeout } = self.phase
            && deadline <= now
        {
            self.transport.expire_handshake();
            let message = format!("no TLS handshake within {} s", seconds(timeout));
            return Some((self.tls_or(LostKind::Tls, message, shared), None));
        }
        if let Phase::Connecting { deadline, timeout } = self.phase
            && deadline <= now
        {
            let message = format!("no connection within {} s", seconds(timeout));
            return Some((lost_cause(LostKind::Connect, message), None));
        }
        if let Some(request) = self.one_way.iter().find(|request| request.deadline <= now) {
            let message = format!(
                "{} request not taken by the network within {} s",
                api_name(request.api_key),
                seconds(now - request.sent)
            );
            return Some((lost_cause(LostKind::RequestTimeout, message), None));
        }
        let request = self
            .outstanding
            .iter()
            .find(|request| request.deadline <= now)?;
        let beat = match request.owner {
            Owner::Beat(beat, _) => Some(beat),
            Owner::Control(_) | Owner::Flow(..) => None,
        };
        let message = format!(
            "{} request (correlation id {}) not answered within {} s",
            api_name(request.api_key),
            request.correlation_id,
            seconds(now - request.sent)
        );
        Some((lost_cause(LostKind::RequestTimeout, message), beat))
    }

    /// The tokens of the unanswered control requests, in order.
    pub fn control_tokens(&self) -> Vec<u64> {
        let token = |request: &Outstanding| match request.owner {
            Owner::Control(token) => Some(token),
            Owner::Flow(..) | Owner::Beat(..) => None,
        };
        self.outstanding.iter().filter_map(token).collect()
    }

    pub fn has_outstanding_beat(&self, beat: BeatId) -> bool {
        let its = |request: &Outstanding| matches!(request.owner, Owner::Beat(id, _) if id == beat);
        self.outstanding.iter().any(its)
    }

    /// Queues a request whose header is in `frame`; the correlation id is set here.
    pub fn request(
        &mut self,
        mut frame: Vec<u8>,
        owner: Owner,
        now: Micros,
        deadline: Micros,
        expects_response: bool,
    ) -> Result<(), LostCause> {
        let correlation_id = self.next_correlation_id;
        if let Some(place) = frame.get_mut(4..8) {
            place.copy_from_slice(&correlation_id.to_be_bytes());
        }
        let request = OutRequest {
            token: 0,
            segments: vec![frame.into()],
            deadline,
            expects_response,
            answer_bytes: 0,
        };
        self.queue_request(request, owner, now)
    }

    fn queue_request(
        &mut self,
        request: OutRequest,
        owner: Owner,
        now: Micros,
    ) -> Result<(), LostCause> {
        let bytes: usize = request.segments.iter().map(Bytes::len).sum();
        let api_key = api_key(&request.segments);
        let size = i32::try_from(bytes).map_err(|_| {
            let message = format!(
                "{} request of {bytes} bytes is too large for a frame",
                api_name(api_key)
            );
            lost_cause(LostKind::Protocol, message)
        })?;
        let correlation_id = self.next_correlation_id;
        self.next_correlation_id = correlation_id.checked_add(1).unwrap_or(1);
        let position = self.queue.push(size, request.segments);
        let deadline = request.deadline;
        if request.expects_response {
            self.outstanding.push_back(Outstanding {
                correlation_id,
                owner,
                api_key,
                sent: now,
                deadline,
                answer_bytes: request.answer_bytes,
            });
        } else {
            self.one_way.push_back(OneWay {
                position,
                owner,
                api_key,
                sent: now,
                deadline,
            });
        }
        Ok(())
    }

    /// Checks whether the socket is connected now. `Connected` is the first event of a connection.
    pub fn connect(&mut self, shared: &Shared) -> Result<bool, LostCause> {
        if self.phase == Phase::Connected {
            return Ok(true);
        }
        if !self.writable && !self.readable {
            return Ok(false);
        }
        if let Phase::Connecting { deadline, timeout } = self.phase {
            match self.transport.is_connected() {
                Ok(true) => self.phase = Phase::Handshaking { deadline, timeout },
                Ok(false) => return Ok(self.not_yet()),
                Err(error) => return Err(lost_cause(LostKind::Connect, error.to_string())),
            }
        }
        match self.transport.handshake() {
            Ok(true) => {
                self.phase = Phase::Connected;
                let (conn, tls) = (self.id, self.transport.peer());
                shared.emit(IoEvent::Connected { conn, tls });
                Ok(true)
            }
            Ok(false) => Ok(self.not_yet()),
            Err(error) => Err(self.tls_or(LostKind::Io, error.to_string(), shared)),
        }
    }

    /// The socket has nothing more now; its next event continues.
    fn not_yet(&mut self) -> bool {
        self.writable = false;
        self.readable = false;
        false
    }

    /// Cause of a loss: TLS where it has failed, whose facts are emitted first; else the given one.
    fn tls_or(&mut self, kind: LostKind, message: String, shared: &Shared) -> LostCause {
        let Some(failure) = self.transport.take_failure() else {
            return lost_cause(kind, message);
        };
        let message = failure.detail.clone();
        let conn = self.id;
        shared.emit(IoEvent::TlsFailed { conn, failure });
        lost_cause(LostKind::Tls, message)
    }

    /// Reads available bytes, at most its share, and passes on the answers.
    pub fn read(
        &mut self,
        scratch: &mut [u8],
        shared: &Shared,
        now: Micros,
    ) -> Result<Progress, LostCause> {
        let mut progress = Progress::default();
        let mut budget = TURN_BYTES;
        let mut frames = Vec::new();
        while self.readable && budget > 0 {
            let transport = &mut self.transport;
            let expected = self.outstanding.front();
            self.reader
                .expect(expected.map_or(0, |request| request.answer_bytes));
            let read = frame::read_frames(
                &mut self.reader,
                scratch,
                |into| transport.read(into),
                |frame| {
                    frames.push(frame);
                    Ok::<_, ReadError>(())
                },
            );
            for frame in frames.drain(..) {
                progress.answered_flow |= self.answer(frame, shared, now)?;
            }
            match read {
                Ok(Read { count: 0, .. }) => return Err(self.end_of_stream()),
                Ok(read) => {
                    budget = budget.saturating_sub(read.count);
                    add(&shared.counters.bytes_read, read.count as u64);
                    // Fewer bytes than requested: the socket is empty, and later bytes cause a new event. At the end of the
                    // stream, however, this event may have been the last.
                    let is_last = !read.full && self.transport.short_read_is_last();
                    self.readable = !is_last || self.read_closed;
                }
                Err(ReadError::Io(error)) if error.kind() == ErrorKind::WouldBlock => {
                    self.readable = false
                }
                Err(ReadError::Io(error)) if error.kind() == ErrorKind::Interrupted => {}
                Err(ReadError::Io(error)) => {
                    return Err(self.tls_or(LostKind::Io, format!("read: {error}"), shared));
                }
                Err(ReadError::Length(error)) => {
                    return Err(lost_cause(LostKind::Protocol, error.to_string()));
                }
            }
        }
        progress.more = self.readable;
        Ok(progress)
    }

    fn end_of_stream(&self) -> LostCause {
        let part = self
            .reader
            .partial()
            .map_or_else(String::new, |(had, wanted)| {
                format!(" in the middle of a frame ({had} of {wanted} bytes)")
            });
        let unanswered = match self.outstanding.len() {
            0 => String::new(),
            1 => ", 1 request unanswered".into(),
            count => format!(", {count} requests unanswered"),
        };
        let message = format!("closed by the broker{part}{unanswered}");
        lost_cause(LostKind::Eof, message)
    }

    /// Passes on an answer to the oldest outstanding request. Returns whether it was a request of the flow.
    fn answer(&mut self, frame: Bytes, shared: &Shared, now: Micros) -> Result<bool, LostCause> {
        let found = frame.first_chunk().map(|id| i32::from_be_bytes(*id));
        let Some(request) = self.outstanding.pop_front() else {
            return Err(self.not_asked(found));
        };
        if found != Some(request.correlation_id) {
            let cause = format!(
                "answer with correlation id {} where {} was due ({} request)",
                found.unwrap_or(-1),
                request.correlation_id,
                api_name(request.api_key)
            );
            // The oldest request is unanswered too, like the others.
            self.outstanding.push_front(request);
            return Err(lost_cause(LostKind::Protocol, cause));
        }
        add(&shared.counters.responses, 1);
        match request.owner {
            Owner::Control(token) => shared.emit(IoEvent::Response {
                conn: self.id,
                token,
                frame,
            }),
            Owner::Beat(beat, offset) => {
                if self.beat_error(&frame, offset)? != 0 {
                    shared.emit(IoEvent::Beat { beat, frame });
                }
            }
            Owner::Flow(id, token) => return self.answer_flow(id, token, frame, &request, now),
        }
        Ok(false)
    }

    fn answer_flow(
        &mut self,
        id: FlowId,
        token: u64,
        frame: Bytes,
        request: &Outstanding,
        now: Micros,
    ) -> Result<bool, LostCause> {
        // Answers to a flow that was unregistered meanwhile are dropped.
        let Some(flow) = self.flow.as_ref().filter(|flow| flow.id == id) else {
            return Ok(false);
        };
        let frame = frame.slice(4..);
        flow.machine
            .on_response(self.id, token, frame, now)
            .map_err(|bad| {
                let name = api_name(request.api_key);
                lost_cause(LostKind::Protocol, format!("{name} response: {bad}"))
            })?;
        Ok(true)
    }

    fn beat_error(&self, frame: &Bytes, offset: usize) -> Result<i16, LostCause> {
        let code = frame.get(offset..).and_then(|rest| rest.first_chunk());
        code.map(|code| i16::from_be_bytes(*code)).ok_or_else(|| {
            let message = format!("a beat's answer of {} bytes has no error code", frame.len());
            lost_cause(LostKind::Protocol, message)
        })
    }

    fn not_asked(&self, found: Option<i32>) -> LostCause {
        let id = found.unwrap_or(-1);
        let message = format!("answer with correlation id {id} where nothing was asked");
        lost_cause(LostKind::Protocol, message)
    }

    /// Asks the flow for requests, until it returns none or enough bytes wait.
    pub fn pump(&mut self, shared: &Shared, now: Micros) -> Result<(), LostCause> {
        self.more_to_pump = false;
        if self.phase != Phase::Connected {
            return Ok(());
        }
        for started in 0.. {
            let Some(flow) = &self.flow else {
                return Ok(());
            };
            if started == TURN_REQUESTS || self.queue.len_bytes() >= HIGH_WATER_BYTES {
                self.more_to_pump = true;
                return Ok(());
            }
            let Some(request) = flow
                .machine
                .next_request(self.id, self.next_correlation_id, now)
            else {
                return Ok(());
            };
            let owner = Owner::Flow(flow.id, request.token);
            add(&shared.counters.requests, 1);
            self.queue_request(request, owner, now)?;
        }
        Ok(())
    }

    /// Writes queued bytes, at most its share.
    pub fn write(&mut self, shared: &Shared, now: Micros) -> Result<Progress, LostCause> {
        let written = self.write_share(shared);
        // Also where the write failed: requests written before it are reported.
        self.report_taken(now);
        written?;
        let unfinished = self.writable && self.has_to_write();
        let may_pump = self.more_to_pump && self.queue.len_bytes() < HIGH_WATER_BYTES;
        Ok(Progress {
            answered_flow: false,
            more: self.phase == Phase::Connected && (unfinished || may_pump),
        })
    }

    fn write_share(&mut self, shared: &Shared) -> Result<(), LostCause> {
        let mut budget = TURN_BYTES;
        while self.phase == Phase::Connected && self.writable && budget > 0 && self.has_to_write() {
            let transport = &mut self.transport;
            match self.queue.write(|slices| transport.write_vectored(slices)) {
                Ok(count) => {
                    budget = budget.saturating_sub(count);
                    add(&shared.counters.bytes_written, count as u64);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.writable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    return Err(self.tls_or(LostKind::Io, format!("write: {error}"), shared));
                }
            }
        }
        Ok(())
    }

    /// Reports requests without answer that the socket has taken; their flow may have more.
    fn report_taken(&mut self, now: Micros) {
        let written = self.queue.written();
        let is_taken = |request: &mut OneWay| request.position <= written;
        while let Some(request) = self.one_way.pop_front_if(is_taken) {
            if let (Owner::Flow(id, token), Some(flow)) = (request.owner, &self.flow)
                && flow.id == id
            {
                flow.machine.on_taken(self.id, token, now);
                self.more_to_pump = true;
            }
        }
    }

    /// Whether it may have more bytes to read than its last turn allowed.
    pub fn wants_turn(&self) -> bool {
        self.phase == Phase::Connected && self.readable
    }

    fn has_to_write(&self) -> bool {
        !self.queue.is_empty() || self.transport.wants_write()
    }
}

enum ReadError {
    Io(std::io::Error),
    Length(BadLength),
}

impl From<std::io::Error> for ReadError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<BadLength> for ReadError {
    fn from(error: BadLength) -> Self {
        Self::Length(error)
    }
}

pub(crate) fn lost_cause(kind: LostKind, message: String) -> LostCause {
    LostCause { kind, message }
}

/// Returns the API key, the first field of every request.
fn api_key(segments: &[Bytes]) -> i16 {
    let opening = segments.first().and_then(|segment| segment.first_chunk());
    opening.map_or(-1, |key| i16::from_be_bytes(*key))
}

fn seconds(micros: Micros) -> f64 {
    (micros as f64 / 1000.0).round() / 1000.0
}
