//! What an assignment does to those before it, and what takes a single value away again: for some keys the empty value, for
//! others the default spelled out. The rest can't be taken away by a drop-in; among them is what the manager's own
//! configuration (systemd-system.conf(5)) gives a default.
//!
//! Each was seen in systemd 252 and 257: `systemctl show` is the same with it as without the key.

use super::keys::{self, Kind};

/// What an assignment does to those of its key before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Nothing: systemd ignores it.
    Nothing,
    /// It goes to the others.
    Adds,
    /// It takes the place of all of them.
    Replaces,
    /// They and those of the key's family are gone, as if nothing had been said.
    Resets,
    /// They are gone, and that they are means something else than an absent key: the empty set of capabilities.
    Empties,
}

/// The keys of one value that an empty value puts back to the default. For all others systemd ignores an empty value.
const EMPTIED: &str = "AppArmorProfile BindLogSockets BindToDevice BlockIOWeight CPUQuota CPUQuotaPeriodSec \
    CPUSchedulingPolicy CPUShares CPUWeight CoredumpFilter DefaultMemoryLow DefaultMemoryMin DelegateSubgroup Description \
    ExtensionImagePolicy FailureActionExitStatus FileDescriptorName Group IOSchedulingClass IOSchedulingPriority IOWeight \
    IPCNamespacePath IPTOS JobTimeoutRebootArgument KillMode LogNamespace ManagedOOMMemoryPressure \
    ManagedOOMMemoryPressureDurationSec ManagedOOMMemoryPressureLimit ManagedOOMSwap MemoryHigh MemoryKSM MemoryLimit \
    MemoryLow MemoryMax MemoryMin MemorySwapMax MemoryZSwapMax MountAPIVFS MountFlags MountImagePolicy NUMAMask NUMAPolicy \
    NetworkNamespacePath Nice OOMScoreAdjust PAMName PIDFile Personality RebootArgument RootDirectory RootImage \
    RootImagePolicy RootVerity SELinuxContext SetLoginEnvironment SmackLabel SmackLabelIPIn SmackLabelIPOut \
    SmackProcessLabel SocketGroup SocketUser SourcePath StartupBlockIOWeight StartupCPUShares StartupCPUWeight \
    StartupIOWeight StartupMemoryHigh StartupMemoryLow StartupMemoryMax StartupMemorySwapMax StartupMemoryZSwapMax \
    SuccessActionExitStatus SyslogIdentifier SystemCallErrorNumber TCPCongestion TTYPath TasksMax TimeoutAbortSec \
    USBFunctionDescriptors USBFunctionStrings User UtmpIdentifier WorkingDirectory";

/// Values that mean the same as no value.
const DEFAULTS: &[(&str, &str)] = &[
    (
        "no",
        "Accept AllowIsolate Broadcast CPUSchedulingResetOnFork CoredumpReceive DeferReactivation DynamicUser \
         FixedRandomDelay FlushPending FreeBind IgnoreOnIsolate KeepAlive LockPersonality MakeDirectory \
         MemoryDenyWriteExecute NoDelay NoNewPrivileges NonBlocking OnClockChange OnFailureIsolate OnTimezoneChange \
         PassCredentials PassFileDescriptorsToExec PassPacketInfo PassSecurity Persistent PrivateDevices PrivateIPC \
         PrivateMounts PrivateNetwork PrivatePIDs PrivateTmp PrivateUsers ProtectClock ProtectControlGroups ProtectHome \
         ProtectHostname ProtectKernelLogs ProtectKernelModules ProtectKernelTunables ProtectSystem RefuseManualStart \
         RefuseManualStop RemainAfterExit RemoveIPC RemoveOnStop Restart RestrictRealtime RestrictSUIDSGID ReusePort \
         RootDirectoryStartOnly RootEphemeral RuntimeDirectoryPreserve SendSIGHUP StopWhenUnneeded \
         SurviveFinalKillSignal TTYReset TTYVHangup TTYVTDisallocate Transparent WakeSystem Writable",
    ),
    (
        "yes",
        "DefaultDependencies GuessMainPID IgnoreSIGPIPE MemoryZSwapWriteback RemainAfterElapse SendSIGKILL \
         SyslogLevelPrefix",
    ),
    (
        "0",
        "CPUSchedulingPriority DeferAcceptSec FileDescriptorStoreMax KeepAliveIntervalSec KeepAliveProbes \
         KeepAliveTimeSec LogRateLimitBurst LogRateLimitIntervalSec MaxConnectionsPerSource PipeSize RandomizedDelaySec \
         ReceiveBuffer RestartSteps RuntimeRandomizedExtraSec SendBuffer WatchdogSec",
    ),
    ("-1", "IPTTL Mark Priority"),
    ("infinity", "JobRunningTimeoutSec JobTimeoutSec RestartMaxDelaySec RuntimeMaxSec TimeoutCleanSec"),
    ("none", "FailureAction JobTimeoutAction ManagedOOMPreference NotifyAccess StartLimitAction SuccessAction"),
    (
        "0755",
        "CacheDirectoryMode ConfigurationDirectoryMode DirectoryMode LogsDirectoryMode RuntimeDirectoryMode \
         StateDirectoryMode",
    ),
    ("0022", "UMask"),
    ("0666", "SocketMode"),
    ("64", "MaxConnections"),
    ("all", "ProcSubset"),
    ("auto", "DevicePolicy"),
    ("daemon", "SyslogFacility"),
    ("default", "BindIPv6Only ProtectProc"),
    ("fail", "OnSuccessJobMode"),
    ("inactive", "CollectMode"),
    ("info", "SyslogLevel"),
    ("main", "ExitType"),
    ("normal", "RestartMode"),
    ("null", "StandardInput"),
    ("private", "KeyringMode"),
    ("replace", "OnFailureJobMode"),
    ("SIGABRT", "WatchdogSignal"),
    ("SIGHUP", "ReloadSignal"),
    ("SIGKILL", "FinalKillSignal"),
    ("SIGTERM", "KillSignal"),
];

/// What `key=value` does, a key that is read as `kind`; `emptied` when what is in force is what [`Deed::Empties`] left.
#[must_use]
pub fn deed(key: &str, kind: Kind, value: &str, emptied: bool) -> Deed {
    match (kind, value) {
        (Kind::Text | Kind::Switch | Kind::Span, "") => {
            if empties(key) {
                Deed::Resets
            } else {
                Deed::Nothing
            }
        }
        (Kind::Text | Kind::Switch | Kind::Span, _) => Deed::Replaces,
        (Kind::Dependencies, "") => Deed::Nothing,
        (Kind::Capabilities, "") => Deed::Empties,
        // It takes nothing away from everything.
        (Kind::Capabilities, "~") => Deed::Resets,
        // Of nothing, nothing can be taken away.
        (Kind::Capabilities, value) if emptied && value.starts_with('~') => Deed::Nothing,
        (_, "") if key == "Delegate" => Deed::Empties,
        (_, "") => Deed::Resets,
        (_, "~") if key == "AmbientCapabilities" => Deed::Replaces,
        (_, value) if is_switch(key, value) => Deed::Replaces,
        _ => Deed::Adds,
    }
}

/// `RestrictNamespaces=yes`, `RestrictAddressFamilies=none`: a word that is no element of the list, and the whole of it.
#[must_use]
pub fn is_switch(key: &str, word: &str) -> bool {
    if key == "RestrictAddressFamilies" {
        return word == "none";
    }
    ["RestrictNamespaces", "DelegateNamespaces", "Delegate"].contains(&key)
        && ["yes", "no"].contains(&keys::switch(word))
}

/// True when `value` means the same as no value.
#[must_use]
pub fn is_default(key: &str, value: &str) -> bool {
    of(key).is_some_and(|default| keys::meaning(key, default) == keys::meaning(key, value))
}

/// True when `key=` puts `key` back to its default.
#[must_use]
pub fn empties(key: &str) -> bool {
    EMPTIED.split_whitespace().any(|known| known == key)
}

/// The value of `key` that means the same as no value.
#[must_use]
pub fn of(key: &str) -> Option<&'static str> {
    DEFAULTS.iter().find(|(_, keys)| keys.split_whitespace().any(|known| known == key)).map(|(value, _)| *value)
}
