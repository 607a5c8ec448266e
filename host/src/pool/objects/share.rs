//! What a task is given of the shared objects.

use std::fmt;
use std::sync::Arc;

use super::manager::Manager;
#[cfg(feature = "hosts")]
use super::manager::ServerOfManager;
#[cfg(feature = "hosts")]
use wasmpool_core::share::ObjectGrant;
use wasmpool_core::share::{ObjectRights, SharedGrants};
#[cfg(feature = "hosts")]
use wasmpool_nats::access::BrokerAccess;
#[cfg(feature = "hosts")]
use wasmpool_nats::coordinator::ObjectsPlace;
#[cfg(feature = "hosts")]
use wasmpool_nats::objects::program::FoundObjects;
use wasmpool_run::error::Error;
use wasmpool_run::shared::{ObjectError, ObjectErrorKind, SharedObjects};

/// A grant of one shared object, with some rights or all: what `share` of a builder, a pool or a
/// [`Function`](crate::Function) takes.
///
/// A reference to the object grants everything; a method of the object, such as [`Queue::put_only`](crate::Queue::put_only)
/// or [`Dict::read_only`](crate::Dict::read_only), grants less. The program itself may do everything with its objects.
///
/// ```
/// use wasmpool::{Manager, Process};
///
/// let manager = Manager::new();
/// let (jobs, seen) = (manager.queue::<String>("jobs", 100)?, manager.dict::<i64>("seen")?);
/// // Python: Process(target=work, args=(jobs, seen))
/// let builder = Process::builder("examples/squares.wat").args(3).share(&jobs).share(seen.read_only());
/// assert_eq!(builder.start()?.result::<i64>()?, 9);
/// # Ok::<(), wasmpool::Error>(())
/// ```
#[derive(Clone)]
pub struct Share {
    pub(super) manager: Manager,
    pub(super) object: u16,
    pub(super) name: String,
    pub(super) rights: ObjectRights,
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Share").field("name", &self.name).field("rights", &self.rights).finish_non_exhaustive()
    }
}

/// The shared objects of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Sharing {
    manager: Option<Manager>,
    /// True if everything that the manager has is granted with all rights.
    all: bool,
    /// What is granted, if not all is: the number of each object, and what may be done with it.
    granted: Vec<(u16, ObjectRights)>,
}

impl Sharing {
    /// Grants all objects of a manager.
    pub fn all_of(manager: &Manager) -> Sharing {
        Sharing { manager: Some(manager.clone()), all: true, granted: Vec::new() }
    }

    /// Returns the manager, if there is one, all of whose objects are granted.
    pub fn manager_of_all(&self) -> Option<&Manager> {
        self.manager.as_ref().filter(|_| self.all)
    }

    pub fn manager(&self) -> Option<&Manager> {
        self.manager.as_ref()
    }

    /// Grants one object. What was granted of it before is replaced.
    pub fn grant(&mut self, share: Share) -> Result<(), Error> {
        let Share { manager, object, name, rights } = share;
        if !self.all && self.manager.as_ref().is_some_and(|other| *other != manager) {
            return Err(ObjectError::new(&name, ObjectErrorKind::OtherManager).into());
        }
        self.manager = Some(manager);
        self.all = false;
        self.granted.retain(|(other, _)| *other != object);
        self.granted.push((object, rights));
        Ok(())
    }

    /// Lets no more objects be created, since a call is made.
    pub fn complete(&self) {
        if let Some(manager) = &self.manager {
            let _ = manager.is_empty_from_now_on();
        }
    }

    /// Returns where hosts of this message system reach the objects.
    ///
    /// # Errors
    ///
    /// [`Error::Broker`] if they cannot.
    #[cfg(feature = "hosts")]
    pub fn place(&self, access: &BrokerAccess) -> Result<ObjectsPlace, Error> {
        let Some(manager) = &self.manager else { return Ok(ObjectsPlace::Nowhere) };
        let Some(server) = manager.server() else {
            return Err(Error::Broker(format!(
                "objects of this program are shared within one machine, and the pool runs at {access}: share those of a server \
                 there (Manager::connect)"
            )));
        };
        if server.access.url != access.url {
            let ServerOfManager { name, access: other, .. } = server;
            return Err(Error::Broker(format!(
                "the objects of {name} are at {other}, and the pool runs at {access}, whose hosts do not reach them: connect both \
                 to one message system"
            )));
        }
        let grant_of = |grant: &ObjectGrant| match self.all {
            true => Some(grant.clone()),
            false => {
                let (_, rights) = self.granted.iter().find(|(object, _)| *object == grant.object)?;
                Some(ObjectGrant { rights: rights.and(grant.rights), ..grant.clone() })
            }
        };
        let FoundObjects { life, objects } = &server.found;
        let objects = objects.iter().filter_map(grant_of).collect();
        Ok(ObjectsPlace::Server(server.name.clone(), FoundObjects { life: *life, objects }))
    }

    /// Starts what the objects need, and returns them with what is granted of them. `name` is what the process is told
    /// that it is called. No object can be created from now on.
    pub fn start(&self, name: Option<&str>) -> Result<(Option<Arc<SharedObjects>>, SharedGrants), Error> {
        let mut grants = SharedGrants { name: name.map(str::to_owned), ..SharedGrants::default() };
        let Some(manager) = &self.manager else { return Ok((None, grants)) };
        if manager.is_empty_from_now_on()? || (!self.all && self.granted.is_empty()) {
            return Ok((None, grants));
        }
        let objects = manager.started()?.clone();
        grants.remote = objects.is_elsewhere();
        let specs = (0..).zip(objects.specs());
        grants.objects = specs
            .filter_map(|(number, spec)| match self.all {
                true => objects.grant(&spec.name, ObjectRights::ALL),
                false => {
                    let (_, rights) = self.granted.iter().find(|(object, _)| *object == number)?;
                    objects.grant(&spec.name, *rights)
                }
            })
            .collect();
        Ok((Some(objects), grants))
    }
}
