//! What takes a single value away again: for some keys the empty value, for others the default spelled out. The rest can't
//! be taken away by a drop-in; among them is what the manager's own configuration (systemd-system.conf(5)) gives a default.
//!
//! Each was seen in systemd 252 and 257: `systemctl show` is the same with it as without the key.

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

/// True when `key=` puts `key` back to its default.
pub fn empties(key: &str) -> bool {
    EMPTIED.split_whitespace().any(|known| known == key)
}

/// The value of `key` that means the same as no value.
pub fn of(key: &str) -> Option<&'static str> {
    DEFAULTS.iter().find(|(_, keys)| keys.split_whitespace().any(|known| known == key)).map(|(value, _)| *value)
}
