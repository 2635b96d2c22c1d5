//! What takes a single value away again: for some keys the empty value, for others the default spelled out; the rest can't
//! be taken away by a drop-in.

/// The keys of one value that an empty value puts back to the default. For all others systemd ignores an empty value.
const EMPTIED: &str = "Description SourcePath PIDFile BusName WorkingDirectory RootDirectory RootImage RootHash \
    RootHashSignature RootVerity User Group SyslogIdentifier LogNamespace TTYPath PAMName UtmpIdentifier SELinuxContext \
    AppArmorProfile SmackProcessLabel NetworkNamespacePath IPCNamespacePath Slice RebootArgument JobTimeoutRebootArgument \
    BindToDevice SocketUser SocketGroup TCPCongestion SmackLabel SmackLabelIPIn SmackLabelIPOut FileDescriptorName \
    USBFunctionDescriptors USBFunctionStrings CoredumpFilter Personality NUMAMask";

/// Default values, spelled so that systemd takes them for the key as if it stood nowhere (systemd.exec(5), .service(5)).
const DEFAULTS: &[(&str, &str)] = &[
    (
        "no",
        "StopWhenUnneeded RefuseManualStart RefuseManualStop AllowIsolate OnFailureIsolate IgnoreOnIsolate \
         RootDirectoryStartOnly RemainAfterExit NonBlocking CPUSchedulingResetOnFork DynamicUser RemoveIPC TTYReset \
         TTYVHangup TTYVTDisallocate NoNewPrivileges MemoryDenyWriteExecute RestrictRealtime RestrictSUIDSGID \
         LockPersonality PrivateTmp PrivateDevices ProtectKernelTunables ProtectKernelModules ProtectKernelLogs \
         ProtectClock ProtectControlGroups PrivateNetwork PrivateUsers PrivateMounts PrivateIPC ProtectHostname \
         ProtectSystem ProtectHome SendSIGHUP Accept Writable KeepAlive NoDelay FreeBind Transparent Broadcast \
         PassCredentials PassSecurity PassPacketInfo ReusePort RemoveOnStop SELinuxContextFromNet MakeDirectory \
         Persistent WakeSystem OnClockChange OnTimezoneChange FixedRandomDelay Restart RuntimeDirectoryPreserve",
    ),
    ("yes", "DefaultDependencies GuessMainPID IgnoreSIGPIPE SyslogLevelPrefix SendSIGKILL RemainAfterElapse"),
    (
        "0",
        "Nice UMaskless FileDescriptorStoreMax WatchdogSec RandomizedDelaySec RuntimeRandomizedExtraSec RestartSteps",
    ),
    ("0022", "UMask"),
    ("100ms", "RestartSec"),
    ("infinity", "RuntimeMaxSec RestartMaxDelaySec JobTimeoutSec LimitCPU LimitFSIZE LimitDATA LimitSTACKless"),
    ("none", "FailureAction SuccessAction StartLimitAction JobTimeoutAction"),
    ("default", "ProtectProc"),
    ("all", "ProcSubset"),
    ("control-group", "KillMode"),
    ("SIGTERM", "KillSignal"),
    ("SIGKILL", "FinalKillSignal"),
    ("inherit", "StandardErrorless"),
    ("null", "StandardInput"),
    (
        "0755",
        "RuntimeDirectoryMode StateDirectoryMode CacheDirectoryMode LogsDirectoryMode ConfigurationDirectoryMode DirectoryMode",
    ),
    ("0666", "SocketMode"),
    ("1min", "AccuracySec"),
    ("inactive", "CollectMode"),
    ("replace", "OnFailureJobMode"),
    ("fail", "OnSuccessJobMode"),
    ("auto", "DevicePolicy"),
];

/// True when `key=` puts `key` back to its default.
pub fn empties(key: &str) -> bool {
    EMPTIED.split_whitespace().any(|known| known == key)
}

/// The value of `key` that means the same as no value.
pub fn of(key: &str) -> Option<&'static str> {
    DEFAULTS.iter().find(|(_, keys)| keys.split_whitespace().any(|known| known == key)).map(|(value, _)| *value)
}
