//! The layers that confine a worker, and the parts of each.

use serde::{Deserialize, Serialize};

/// A layer of the sandbox, in the order in which they are entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Layer {
    /// Nothing is inherited from the host.
    Inheritance,
    /// The process dies with the host.
    Death,
    Limits,
    Namespaces,
    Privileges,
    Landlock,
    Seccomp,
}

impl Layer {
    pub const ALL: [Layer; 7] = [
        Layer::Inheritance,
        Layer::Death,
        Layer::Limits,
        Layer::Namespaces,
        Layer::Privileges,
        Layer::Landlock,
        Layer::Seccomp,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Layer::Inheritance => "inheritance",
            Layer::Death => "death",
            Layer::Limits => "limits",
            Layer::Namespaces => "namespaces",
            Layer::Privileges => "privileges",
            Layer::Landlock => "landlock",
            Layer::Seccomp => "seccomp",
        }
    }

    #[cfg(feature = "probes")]
    pub fn from_name(name: &str) -> Option<Layer> {
        Layer::ALL.into_iter().find(|layer| layer.name() == name)
    }
}

/// One thing in a layer that either holds or does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LayerPart {
    CoreLimit,
    FileLimit,
    DescriptorLimit,
    LockLimit,
    DataLimit,
    AddressLimit,
    CpuLimit,
    NoProcesses,
    UserNamespace,
    MountNamespace,
    NetworkNamespace,
    IpcNamespace,
    UtsNamespace,
    CgroupNamespace,
    EmptyRoot,
    Unprivileged,
    NoCapabilities,
    NoNewPrivileges,
    NotDumpable,
    LandlockFiles,
    LandlockTcp,
    LandlockScopes,
    LoadingFilter,
    NoSockets,
    ServingFilter,
}

impl LayerPart {
    pub fn layer(self) -> Layer {
        use LayerPart::*;
        match self {
            CoreLimit | FileLimit | DescriptorLimit | LockLimit | DataLimit | AddressLimit | CpuLimit | NoProcesses => {
                Layer::Limits
            }
            UserNamespace | MountNamespace | NetworkNamespace | IpcNamespace | UtsNamespace | CgroupNamespace
            | EmptyRoot => Layer::Namespaces,
            Unprivileged | NoCapabilities | NoNewPrivileges | NotDumpable => Layer::Privileges,
            LandlockFiles | LandlockTcp | LandlockScopes => Layer::Landlock,
            LoadingFilter | NoSockets | ServingFilter => Layer::Seccomp,
        }
    }

    /// Returns its name for `doctor` and for messages.
    pub fn name(self) -> &'static str {
        match self {
            LayerPart::CoreLimit => "no core dumps",
            LayerPart::FileLimit => "limit of file sizes",
            LayerPart::DescriptorLimit => "few descriptors",
            LayerPart::LockLimit => "no locked memory",
            LayerPart::DataLimit => "limit of memory",
            LayerPart::AddressLimit => "limit of address space",
            LayerPart::CpuLimit => "limit of CPU time",
            LayerPart::NoProcesses => "no new processes",
            LayerPart::UserNamespace => "user namespace",
            LayerPart::MountNamespace => "mount namespace",
            LayerPart::NetworkNamespace => "network namespace",
            LayerPart::IpcNamespace => "IPC namespace",
            LayerPart::UtsNamespace => "host name namespace",
            LayerPart::CgroupNamespace => "cgroup namespace",
            LayerPart::EmptyRoot => "empty root directory",
            LayerPart::Unprivileged => "not root",
            LayerPart::NoCapabilities => "no capabilities",
            LayerPart::NoNewPrivileges => "no new privileges",
            LayerPart::NotDumpable => "not traceable",
            LayerPart::LandlockFiles => "Landlock: no files",
            LayerPart::LandlockTcp => "Landlock: no TCP",
            LayerPart::LandlockScopes => "Landlock: no signals, no abstract sockets",
            LayerPart::LoadingFilter => "system calls, while loading",
            LayerPart::NoSockets => "no sockets, while loading and after",
            LayerPart::ServingFilter => "system calls, before the first item",
        }
    }

    /// Returns the condition under which strict mode can do without it.
    pub fn substitute(self) -> Substitute {
        match self {
            LayerPart::EmptyRoot => Substitute::Or(&[LayerPart::LandlockFiles]),
            LayerPart::LandlockFiles => Substitute::Or(&[LayerPart::EmptyRoot]),
            // Unless a peer is granted, sockets are not allowed at all.
            LayerPart::NetworkNamespace => Substitute::Or(&[LayerPart::LandlockTcp, LayerPart::NoSockets]),
            LayerPart::LandlockTcp => Substitute::Or(&[LayerPart::NetworkNamespace, LayerPart::NoSockets]),
            part => match part.layer() {
                Layer::Namespaces | Layer::Landlock => Substitute::NotRequired,
                _ => Substitute::None,
            },
        }
    }

    /// Returns advice on how to make it available.
    pub fn remedy(self) -> &'static str {
        match (self.layer(), self) {
            (_, LayerPart::Unprivileged) => {
                "run it as a user who is not root, or as root where there are other users; `unshare -r` by itself makes a user \
                 namespace without any"
            }
            (Layer::Namespaces, _) => {
                "allow unprivileged user namespaces (sysctl kernel.unprivileged_userns_clone=1, user.max_user_namespaces>0, \
                 kernel.apparmor_restrict_unprivileged_userns=0); in a container they are usually forbidden, and Landlock \
                 stands in"
            }
            (Layer::Landlock, _) => {
                "a kernel with Landlock (5.13 for files, 6.7 for TCP, 6.12 for scopes) and `landlock` in its lsm= list"
            }
            (Layer::Seccomp, _) => "a kernel with CONFIG_SECCOMP_FILTER",
            _ => "run it where these system calls are not forbidden",
        }
    }
}

/// Condition under which strict mode can do without a part.
pub enum Substitute {
    /// There is none: the part is required.
    None,
    /// Any of these parts: the part is required unless one of them holds.
    Or(&'static [LayerPart]),
    NotRequired,
}
