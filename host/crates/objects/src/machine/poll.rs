//! The one request that is about several objects: to wait for any of several ends of pipes.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Machine, no_such_object};
use crate::events::{Outputs, ParticipantId, Ticket, Time};
use crate::fast::FastPath;
use crate::object::Object;
use crate::operation::{Answer, ObjectError, Operation, PipeEnd, Reply};
use crate::pipe::Poller;
use crate::rights;

/// Most ends of pipes that one request can wait for.
const MOST_ENDS: usize = 1024;

impl Machine {
    /// Returns which of these ends can be received from, or lets the request wait in the lines of all of them.
    #[expect(clippy::too_many_arguments, reason = "as `handle`")]
    pub(super) fn poll_any(
        &mut self,
        now: Time,
        participant: ParticipantId,
        ticket: Ticket,
        ends: &[(u16, PipeEnd)],
        timeout: Option<Duration>,
        fast: &mut dyn FastPath,
        outputs: &mut Outputs,
    ) -> Option<Answer> {
        if ends.len() > MOST_ENDS {
            return Some(Err(ObjectError::Invalid(format!("at most {MOST_ENDS} ends can be waited for at once"))));
        }
        let mut places: BTreeMap<(u16, bool), Vec<u32>> = BTreeMap::new();
        let mut ready = Vec::new();
        for (place, &(number, end)) in (0_u32..).zip(ends) {
            match self.can_receive(participant, number, end) {
                Ok(true) => ready.push(place),
                Ok(false) => places.entry((number, end == PipeEnd::Second)).or_default().push(place),
                Err(error) => return Some(Err(error)),
            }
        }
        let Some(&(first, _)) = ends.first() else {
            return Some(Err(ObjectError::Invalid("no end to wait for".to_owned())));
        };
        if !ready.is_empty() || timeout == Some(Duration::ZERO) {
            return Some(Ok(Reply::Places(ready)));
        }
        if let Err(error) = self.check_in_flight(participant) {
            return Some(Err(error));
        }
        let id = self.waits.add(participant, ticket, first, timeout.and_then(|timeout| now.checked_add(timeout)), 0);
        self.waits.spread(id, places.keys().map(|&(number, _)| number).collect());
        for ((number, second), places) in places {
            let end = if second { PipeEnd::Second } else { PipeEnd::First };
            self.with_object(number, fast, outputs, |object, _| {
                if let Object::Pipe(pipe) = object {
                    pipe.poll(end, id, Poller::Any(places));
                }
            });
        }
        None
    }

    fn can_receive(&self, participant: ParticipantId, number: u16, end: PipeEnd) -> Result<bool, ObjectError> {
        let rights = self.participants.get(&participant).and_then(|member| member.grants.get(&number));
        let (Some(&rights), Some(kept)) = (rights, self.objects.get(usize::from(number))) else {
            return Err(no_such_object());
        };
        rights::check(rights, &Operation::Poll(end), &kept.spec.form)?;
        match &kept.object {
            Object::Pipe(pipe) => pipe.can_receive(end, participant),
            _ => Err(ObjectError::Invalid("not a pipe".to_owned())),
        }
    }
}
