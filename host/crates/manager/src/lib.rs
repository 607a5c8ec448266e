//! The manager process: it keeps the shared objects of a run. It runs no task, and believes nothing that participants
//! write.
//!
//! It is the host's own binary, started with an empty environment and nothing but one end of a socket. It lives as long
//! as the socket does.

mod peers;
mod serve;

use std::io;
use std::os::fd::OwnedFd;
use std::process::ExitCode;

use serve::Serving;
use wasmpool_core::text::cut;
use wasmpool_ipc::channel::MEMORY;
use wasmpool_ipc::lane::control::Control;
use wasmpool_ipc::messages::{ManagerReport, ManagerSetup, StartManager};
use wasmpool_sandbox::{self as sandbox, ProcessLimits, ProcessRole, SandboxOpenings, SandboxPlan};

/// Runs the process on the socket it was given.
pub fn run(socket: OwnedFd) -> ExitCode {
    match serve(&Control::from_fd(socket)) {
        // It normally ends because the host has gone away.
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn serve(control: &Control) -> io::Result<()> {
    let Some((StartManager, fds)) = control.receive_descriptors()? else {
        return Ok(());
    };
    let Ok([setup, contents]) = <[OwnedFd; 2]>::try_from(fds) else {
        return Err(io::Error::other("the host sent other descriptors than a manager needs"));
    };
    let setup: ManagerSetup = wasmpool_ipc::memfd::read_json(setup)?;
    let contents = postcard::from_bytes(&wasmpool_ipc::memfd::read(contents)?).map_err(io::Error::other)?;
    let serving = Serving::new(control, &setup, contents)?;
    let entered = sandbox::enter_loading(plan(&setup)).and_then(|mut sandbox| {
        sandbox.enter_serving()?;
        Ok(sandbox)
    });
    match entered {
        Ok(sandbox) => control.send(&ManagerReport::Entered { lacking: sandbox.lacking() }, &[])?,
        Err(e) => return control.send(&ManagerReport::Unprotected(cut(&e.to_string(), LONGEST)), &[]),
    }
    #[cfg(feature = "probes")]
    if let Some(probe) = &setup.probe {
        return control.send(&ManagerReport::Probed(sandbox::probes::attempt(probe)), &[]);
    }
    serving.run()
}

/// Maximum number of characters of a message to the host: it has to fit the socket.
const LONGEST: usize = 2000;

fn plan(setup: &ManagerSetup) -> SandboxPlan {
    let limits = ProcessLimits::of_manager(&setup.objects, setup.participants, MEMORY as u64);
    let plan = SandboxPlan::new(setup.sandbox, ProcessRole::Manager, limits, SandboxOpenings::default());
    #[cfg(feature = "probes")]
    let plan = plan.weakened(setup.probe.as_ref());
    plan
}
