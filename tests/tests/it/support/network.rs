//! A network of its own for a host, which a test can cut off as a cable is: a network namespace with a pair of virtual devices. What is
//! sent while it is cut is lost, and TCP sends it again, unlike with [`Proxy`].

use std::fs::File;
use std::os::fd::AsRawFd;
use std::process::Command;

use super::proxy::Proxy;

/// The network of a host. It is removed when this is dropped.
pub struct Network {
    name: String,
    device: String,
    /// From this network to the address of the machine in it, and from there to the broker.
    inner: Option<Proxy>,
    _outer: Proxy,
}

impl Network {
    /// Returns a network from which a port of this machine is reached; the reason, if none can be made here.
    pub fn to(port: u16) -> Result<Network, String> {
        // Tests of other processes have networks, too.
        let id = std::process::id();
        let (name, device) = (format!("wasmpool-test-{id}"), format!("wp{id}"));
        let [third, fourth] = [id / 64 % 256, id % 64 * 4];
        let address = |last: u32| format!("10.213.{third}.{}", fourth + last);
        ip(&["netns", "add", &name])?;
        let made = || {
            let peer = format!("{device}p");
            ip(&["link", "add", &device, "type", "veth", "peer", "name", &peer, "netns", &name])?;
            ip(&["addr", "add", &format!("{}/30", address(1)), "dev", &device])?;
            ip(&["link", "set", &device, "up"])?;
            ip(&["-n", &name, "addr", "add", &format!("{}/30", address(2)), "dev", &peer])?;
            ip(&["-n", &name, "link", "set", &peer, "up"])?;
            ip(&["-n", &name, "link", "set", "lo", "up"])
        };
        if let Err(why) = made() {
            remove(&name, &device);
            return Err(why);
        }
        let outer = Proxy::between(&address(1), ("127.0.0.1", port));
        let mut network = Network { name, device, inner: None, _outer: outer };
        let to = (address(1), network._outer.port());
        network.inner = Some(network.inside(|| Proxy::between("127.0.0.1", (to.0.as_str(), to.1))));
        Ok(network)
    }

    /// Returns where the broker is for whoever is in this network.
    pub fn url(&self) -> String {
        self.inner.as_ref().map(Proxy::url).expect("it was made")
    }

    /// Does something in a thread that is in this network, as are its threads and child processes.
    pub fn inside<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let network = File::open(format!("/run/netns/{}", self.name)).expect("the network");
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                // SAFETY: the call takes no pointers, and concerns this thread alone.
                let entered = unsafe { libc::setns(network.as_raw_fd(), libc::CLONE_NEWNET) };
                assert_eq!(entered, 0, "{}", std::io::Error::last_os_error());
                act()
            });
            thread.join().expect("it does not panic")
        })
    }

    pub fn cut(&self) {
        ip(&["link", "set", &self.device, "down"]).expect("the device is ours");
    }

    pub fn mend(&self) {
        ip(&["link", "set", &self.device, "up"]).expect("the device is ours");
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        remove(&self.name, &self.device);
    }
}

fn remove(name: &str, device: &str) {
    // The second device of the pair goes with the first.
    let _ = (ip(&["link", "del", device]), ip(&["netns", "del", name]));
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    let done = Command::new("ip").args(arguments).output().map_err(|e| format!("ip cannot be run: {e}"))?;
    let said = String::from_utf8_lossy(&done.stderr).trim().to_owned();
    done.status.success().then_some(()).ok_or_else(|| format!("ip {}: {said}", arguments.join(" ")))
}
