//! How systemd takes each key: the last value, a list, commands … (`systemd --dump-configuration-items` of 252, and the
//! manual pages of 252 to 258 for what an empty value resets).

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::Duration;

/// How systemd reads the assignments of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The last assignment counts.
    Text,
    /// The last assignment counts, and `yes`, `true`, `on` and `1` are one value; other words may be taken besides.
    Switch,
    /// The last assignment counts, a time span whose bare number is seconds (systemd.time(7)).
    Span,
    /// A set of words over all assignments.
    Words,
    /// A list of words over all assignments, in their order.
    OrderedWords,
    /// A set of unit names or paths over all assignments, which nothing resets (systemd.unit(5)).
    Dependencies,
    /// A set of whole assignments.
    Entries,
    /// A list of whole assignments, in their order. So are keys that this table doesn't know.
    Sequence,
    /// Words that are allowed, or taken back by an assignment that begins with `~`.
    Filter,
    /// A [`Kind::Filter`] for which the empty value is the empty set, which is not what an absent key means.
    Capabilities,
    /// `NAME=value` words, of which the last of a name counts.
    Variables,
    /// Command lines, in their order.
    Commands,
}

const TABLE: &[(Kind, &str)] = &[
    (
        Kind::Commands,
        "ExecCondition ExecStartPre ExecStart ExecStartPost ExecReload ExecReloadPost ExecStop ExecStopPost ExecStopPre",
    ),
    (Kind::Variables, "Environment"),
    (
        Kind::Dependencies,
        "Requires Requisite Wants BindsTo Upholds Conflicts Before After OnSuccess OnFailure PropagatesReloadTo \
         ReloadPropagatedFrom PropagatesStopTo StopPropagatedFrom PartOf JoinsNamespaceOf RequiresMountsFor \
         WantsMountsFor Sockets",
    ),
    (
        Kind::Words,
        "Documentation WantedBy RequiredBy UpheldBy Alias Also SupplementaryGroups PassEnvironment UnsetEnvironment \
         ReadWritePaths ReadOnlyPaths InaccessiblePaths ExecPaths NoExecPaths TemporaryFileSystem ExtensionImages ExtensionDirectories \
         MountImages SystemCallArchitectures SuccessExitStatus RestartPreventExitStatus RestartForceExitStatus \
         IPAddressAllow IPAddressDeny DisableControllers Symlinks SecureBits CPUAffinity \
         AllowedCPUs StartupAllowedCPUs AllowedMemoryNodes StartupAllowedMemoryNodes BPFDelegateCommands \
         BPFDelegateMaps BPFDelegatePrograms BPFDelegateAttachments SocketBindAllow SocketBindDeny NFTSet \
         RuntimeDirectory StateDirectory CacheDirectory LogsDirectory ConfigurationDirectory",
    ),
    (Kind::OrderedWords, "BindPaths BindReadOnlyPaths"),
    (Kind::Capabilities, "CapabilityBoundingSet"),
    (
        Kind::Filter,
        "AmbientCapabilities SystemCallFilter SystemCallLog RestrictAddressFamilies RestrictNamespaces \
         RestrictFileSystems RestrictNetworkInterfaces DelegateNamespaces",
    ),
    (
        Kind::Entries,
        "DeviceAllow IODeviceWeight IOReadBandwidthMax IOWriteBandwidthMax IOReadIOPSMax IOWriteIOPSMax \
         IODeviceLatencyTargetSec BlockIODeviceWeight BlockIOReadBandwidth BlockIOWriteBandwidth LogExtraFields \
         LogFilterPatterns SetCredential SetCredentialEncrypted LoadCredential LoadCredentialEncrypted \
         ImportCredential IPIngressFilterPath IPEgressFilterPath BPFProgram OpenFile OnCalendar OnActiveSec OnBootSec \
         OnStartupSec OnUnitActiveSec OnUnitInactiveSec PathExists PathExistsGlob PathChanged PathModified \
         DirectoryNotEmpty ConditionArchitecture ConditionFirmware ConditionVirtualization ConditionHost \
         ConditionKernelCommandLine ConditionKernelVersion ConditionVersion ConditionCredential ConditionEnvironment \
         ConditionSecurity ConditionCapability ConditionACPower ConditionNeedsUpdate ConditionFirstBoot \
         ConditionPathExists ConditionPathExistsGlob ConditionPathIsDirectory ConditionPathIsSymbolicLink \
         ConditionPathIsMountPoint ConditionPathIsReadWrite ConditionPathIsEncrypted ConditionPathIsSocket \
         ConditionDirectoryNotEmpty ConditionFileNotEmpty ConditionFileIsExecutable ConditionUser ConditionGroup \
         ConditionControlGroupController ConditionMemory ConditionCPUs ConditionCPUFeature ConditionOSRelease \
         ConditionMemoryPressure ConditionCPUPressure ConditionIOPressure ConditionKernelModuleLoaded \
         AssertArchitecture AssertVirtualization AssertHost AssertKernelCommandLine AssertKernelVersion \
         AssertVersion AssertCredential AssertEnvironment AssertSecurity AssertCapability AssertACPower \
         AssertNeedsUpdate AssertFirstBoot AssertPathExists AssertPathExistsGlob AssertPathIsDirectory \
         AssertPathIsSymbolicLink AssertPathIsMountPoint AssertPathIsReadWrite AssertPathIsEncrypted \
         AssertPathIsSocket AssertDirectoryNotEmpty AssertFileNotEmpty AssertFileIsExecutable AssertUser AssertGroup \
         AssertControlGroupController AssertMemory AssertCPUs AssertCPUFeature AssertOSRelease AssertMemoryPressure \
         AssertCPUPressure AssertIOPressure AssertKernelModuleLoaded AssertFirmware",
    ),
    (
        Kind::Sequence,
        "EnvironmentFile ListenStream ListenDatagram ListenSequentialPacket ListenFIFO ListenNetlink ListenSpecial \
         ListenMessageQueue ListenUSBFunction StandardInputText StandardInputData Delegate RootImageOptions \
         ExecSearchPath",
    ),
    (
        Kind::Switch,
        "StopWhenUnneeded RefuseManualStart RefuseManualStop AllowIsolate DefaultDependencies OnFailureIsolate \
         IgnoreOnIsolate SurviveFinalKillSignal PermissionsStartOnly RootDirectoryStartOnly RemainAfterExit \
         GuessMainPID NonBlocking CPUSchedulingResetOnFork DynamicUser RemoveIPC TTYReset TTYVHangup TTYVTDisallocate \
         SyslogLevelPrefix NoNewPrivileges MemoryDenyWriteExecute RestrictRealtime RestrictSUIDSGID LockPersonality \
         PrivateTmp PrivateDevices ProtectKernelTunables ProtectKernelModules ProtectKernelLogs ProtectClock \
         ProtectControlGroups PrivateNetwork PrivateUsers PrivateMounts PrivateIPC PrivatePIDs PrivateBPF \
         IgnoreSIGPIPE ProtectHostname ProtectSystem ProtectHome MountAPIVFS RootEphemeral SetLoginEnvironment \
         BindLogSockets CPUAccounting MemoryAccounting IOAccounting BlockIOAccounting TasksAccounting IPAccounting \
         MemoryKSM MemoryZSwapWriteback CoredumpReceive SendSIGKILL SendSIGHUP Accept FlushPending Writable KeepAlive \
         NoDelay FreeBind Transparent Broadcast PassCredentials PassSecurity PassPacketInfo PassPIDFD ReusePort \
         RemoveOnStop SELinuxContextFromNet PassFileDescriptorsToExec AcceptFileDescriptors SloppyOptions LazyUnmount \
         ForceUnmount ReadWriteOnly OnClockChange OnTimezoneChange Persistent WakeSystem RemainAfterElapse \
         FixedRandomDelay DeferReactivation MakeDirectory RuntimeDirectoryPreserve FileDescriptorStorePreserve",
    ),
    (
        Kind::Span,
        "StartLimitIntervalSec RestartSec RestartMaxDelaySec TimeoutSec TimeoutStartSec \
         TimeoutStopSec TimeoutAbortSec TimeoutIdleSec TimeoutCleanSec RuntimeMaxSec RuntimeRandomizedExtraSec \
         WatchdogSec LogRateLimitIntervalSec KeepAliveTimeSec KeepAliveIntervalSec DeferAcceptSec \
         TriggerLimitIntervalSec PollLimitIntervalSec AccuracySec RandomizedDelaySec RandomizedOffsetSec \
         JobTimeoutSec JobRunningTimeoutSec",
    ),
    (
        Kind::Text,
        "Description SourcePath OnSuccessJobMode OnFailureJobMode JobTimeoutAction JobTimeoutRebootArgument \
         StartLimitBurst StartLimitAction FailureAction SuccessAction FailureActionExitStatus \
         SuccessActionExitStatus RebootArgument CollectMode PIDFile RestartSteps RestartMode Type ExitType \
         TimeoutStartFailureMode TimeoutStopFailureMode BusName FileDescriptorStoreMax NotifyAccess ReloadSignal \
         Restart OOMPolicy WorkingDirectory RootDirectory RootImage RootHash RootHashSignature RootVerity \
         RootImagePolicy ExtensionImagePolicy MountImagePolicy User Group Nice OOMScoreAdjust CoredumpFilter \
         IOSchedulingClass IOSchedulingPriority CPUSchedulingPolicy CPUSchedulingPriority NUMAPolicy NUMAMask UMask \
         StandardInput StandardOutput StandardError TTYPath TTYRows TTYColumns SyslogIdentifier SyslogFacility \
         SyslogLevel LogLevelMax LogRateLimitBurst LogNamespace TimerSlackNSec KeyringMode ProtectProc ProcSubset \
         SystemCallErrorNumber Personality RuntimeDirectoryMode StateDirectoryMode CacheDirectoryMode \
         LogsDirectoryMode ConfigurationDirectoryMode PAMName IPCNamespacePath NetworkNamespacePath \
         UserNamespacePath UtmpIdentifier UtmpMode SELinuxContext AppArmorProfile SmackProcessLabel LimitCPU \
         LimitFSIZE LimitDATA LimitSTACK LimitCORE LimitRSS LimitNOFILE LimitAS LimitNPROC LimitMEMLOCK LimitLOCKS \
         LimitSIGPENDING LimitMSGQUEUE LimitNICE LimitRTPRIO LimitRTTIME Slice CPUWeight StartupCPUWeight CPUShares \
         StartupCPUShares CPUQuota CPUQuotaPeriodSec MemoryMin MemoryLow MemoryHigh MemoryMax MemorySwapMax \
         MemoryZSwapMax StartupMemoryLow StartupMemoryHigh StartupMemoryMax StartupMemorySwapMax \
         StartupMemoryZSwapMax DefaultMemoryMin DefaultMemoryLow DefaultStartupMemoryLow MemoryLimit IOWeight StartupIOWeight BlockIOWeight \
         StartupBlockIOWeight DevicePolicy TasksMax DelegateSubgroup ManagedOOMSwap ManagedOOMMemoryPressure \
         ManagedOOMMemoryPressureLimit ManagedOOMMemoryPressureDurationSec ManagedOOMPreference MemoryPressureWatch \
         MemoryPressureThresholdSec KillMode KillSignal RestartKillSignal FinalKillSignal WatchdogSignal \
         USBFunctionDescriptors USBFunctionStrings SocketProtocol BindIPv6Only Backlog BindToDevice SocketUser \
         SocketGroup SocketMode DirectoryMode MaxConnections MaxConnectionsPerSource KeepAliveProbes Priority \
         ReceiveBuffer SendBuffer IPTOS IPTTL Mark PipeSize TCPCongestion MessageQueueMaxMessages \
         MessageQueueMessageSize Timestamping SmackLabel SmackLabelIPIn SmackLabelIPOut Service FileDescriptorName \
         TriggerLimitBurst PollLimitBurst DeferTrigger DeferTriggerMaxSec What Where Options ExtraOptions MountFlags \
         Unit DefaultInstance StateDirectoryQuota CacheDirectoryQuota LogsDirectoryQuota",
    ),
];

/// What systemd still reads under an older name (`config_parse_*_deps`, `load-fragment-gperf`): the section, the old name,
/// the section and the name that count. `*` is any section, and stays.
const RENAMED: &[[&str; 4]] = &[
    ["Unit", "BindTo", "Unit", "BindsTo"],
    ["Unit", "PropagateReloadTo", "Unit", "PropagatesReloadTo"],
    ["Unit", "PropagateReloadFrom", "Unit", "ReloadPropagatedFrom"],
    ["Unit", "RequiresOverridable", "Unit", "Requires"],
    ["Unit", "RequisiteOverridable", "Unit", "Requisite"],
    ["Unit", "StartLimitInterval", "Unit", "StartLimitIntervalSec"],
    ["Service", "StartLimitInterval", "Unit", "StartLimitIntervalSec"],
    ["Service", "StartLimitBurst", "Unit", "StartLimitBurst"],
    ["Service", "StartLimitAction", "Unit", "StartLimitAction"],
    ["Service", "FailureAction", "Unit", "FailureAction"],
    ["Service", "RebootArgument", "Unit", "RebootArgument"],
    ["*", "ReadWriteDirectories", "*", "ReadWritePaths"],
    ["*", "ReadOnlyDirectories", "*", "ReadOnlyPaths"],
    ["*", "InaccessibleDirectories", "*", "InaccessiblePaths"],
];

/// For these 0 takes the limit away (systemd.service(5), systemd.unit(5)); for `TimeoutAbortSec=` it does not.
const ENDLESS: &[&str] = &["TimeoutSec", "TimeoutStartSec", "TimeoutStopSec", "JobTimeoutSec", "JobRunningTimeoutSec"];

/// Keys of paths, all of them simplified by systemd.
const PATHS: &[&str] = &[
    "WorkingDirectory",
    "RootDirectory",
    "PIDFile",
    "ReadWritePaths",
    "ReadOnlyPaths",
    "InaccessiblePaths",
    "ExecPaths",
    "NoExecPaths",
    "EnvironmentFile",
];

static KINDS: LazyLock<HashMap<&'static str, Kind>> =
    LazyLock::new(|| TABLE.iter().flat_map(|(kind, keys)| keys.split_whitespace().map(|key| (key, *kind))).collect());

/// How systemd reads `key`. A key that it doesn't know is compared as a [`Kind::Sequence`]: nothing of it goes unseen.
#[must_use]
pub fn kind(key: &str) -> Kind {
    KINDS.get(key).copied().unwrap_or(Kind::Sequence)
}

/// The keys that this table knows, each with how it is read.
pub fn table() -> impl Iterator<Item = (&'static str, Kind)> {
    TABLE.iter().flat_map(|(kind, keys)| keys.split_whitespace().map(|key| (key, *kind)))
}

/// Whether some systemd from 252 to 258 reads `key` in some section.
#[must_use]
pub fn is_known(key: &str) -> bool {
    KINDS.contains_key(key) || RENAMED.iter().any(|[_, old, ..]| *old == key)
}

/// The section and the name under which systemd keeps `key`: `[Service] StartLimitInterval=` is `[Unit]
/// StartLimitIntervalSec=` since 230.
#[must_use]
pub fn current<'a>(section: &'a str, key: &'a str) -> (&'a str, &'a str) {
    let its = |[of, old, ..]: &&[&str; 4]| *old == key && (*of == section || *of == "*" && is_section(section));
    match RENAMED.iter().find(its) {
        Some([_, _, "*", new]) => (section, new),
        Some([_, _, elsewhere, new]) => (elsewhere, new),
        None => (section, key),
    }
}

/// The settings that an assignment of `key` sets: [`current`], but for `TimeoutSec=`, which is two (systemd.service(5)).
pub fn settings<'a>(section: &'a str, key: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let (one, other) = match (section, key) {
        ("Service", "TimeoutSec") => ((section, "TimeoutStartSec"), Some((section, "TimeoutStopSec"))),
        _ => (current(section, key), None),
    };
    std::iter::once(one).chain(other)
}

/// The keys that an empty assignment of `key` resets besides itself, by their common beginning: all conditions, all
/// assertions, all elapse times of a timer, all watched paths, all listening sockets, all that standard input is given.
#[must_use]
pub fn family(section: &str, key: &str) -> Option<&'static str> {
    let named = |names: &str| names.split(' ').any(|name| name == key);
    match section {
        "Unit" if key.starts_with("Condition") => Some("Condition*"),
        "Unit" if key.starts_with("Assert") => Some("Assert*"),
        "Timer" if named("OnCalendar OnActiveSec OnBootSec OnStartupSec OnUnitActiveSec OnUnitInactiveSec") => {
            Some("On*")
        }
        "Path" if named("PathExists PathExistsGlob PathChanged PathModified DirectoryNotEmpty") => Some("Path*"),
        "Socket" if key.starts_with("Listen") => Some("Listen*"),
        _ if named("StandardInputText StandardInputData") => Some("StandardInput*"),
        _ => None,
    }
}

/// True for the sections that systemd reads in some kind of unit; it ignores all others, `X-` ones in silence.
#[must_use]
pub fn is_section(name: &str) -> bool {
    const SECTIONS: [&str; 11] =
        ["Unit", "Install", "Service", "Socket", "Mount", "Automount", "Swap", "Timer", "Path", "Slice", "Scope"];
    SECTIONS.contains(&name)
}

/// The one spelling of a boolean (systemd.syntax(7)); any other word as it is.
#[must_use]
pub fn switch(value: &str) -> &str {
    match value.to_ascii_lowercase().as_str() {
        "1" | "yes" | "y" | "true" | "t" | "on" => "yes",
        "0" | "no" | "n" | "false" | "f" | "off" => "no",
        _ => value,
    }
}

/// The one text for what a single `value` of `key` means.
#[must_use]
pub fn meaning<'a>(key: &str, value: &'a str) -> Cow<'a, str> {
    match kind(key) {
        Kind::Switch => switch(value).into(),
        Kind::Span if ENDLESS.contains(&key) && span(value).is_some_and(|span| span.is_zero()) => "infinity".into(),
        Kind::Span => span(value).map_or(value.into(), |span| format!("{span:?}").into()),
        _ if is_path(key) => simple_path(value),
        _ => value.into(),
    }
}

/// True for the keys whose value is one path or a list of paths, each of which systemd keeps without a `/` too many.
#[must_use]
pub fn is_path(key: &str) -> bool {
    PATHS.contains(&key)
}

/// A path as systemd keeps it, its prefixes `-` and `+` too: no `/` twice, none at the end, no `.` between two. What is no
/// path (`~`) is as it is.
#[must_use]
pub fn simple_path(value: &str) -> Cow<'_, str> {
    let bare = value.trim_start_matches(['-', '+']);
    let kept = |part: &&str| !part.is_empty() && *part != ".";
    if !bare.starts_with('/') || bare == "/" || bare.split('/').skip(1).all(|part| kept(&part)) {
        return value.into();
    }
    let prefix = value.strip_suffix(bare).unwrap_or_default();
    let parts: Vec<_> = bare.split('/').filter(kept).collect();
    format!("{prefix}/{}", parts.join("/")).into()
}

/// The length of a time span (systemd.time(7)); `None` for what is not one (`infinity`, say), which is compared as text.
#[must_use]
pub fn span(value: &str) -> Option<Duration> {
    let bare = value.chars().all(|c| c.is_ascii_digit() || c == '.');
    humantime::parse_duration(&if bare { format!("{value}s") } else { value.to_owned() }).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_stands_twice_in_the_table() {
        let mut keys: Vec<_> = TABLE.iter().flat_map(|(_, keys)| keys.split_whitespace()).collect();
        keys.sort_unstable();
        let twice: Vec<_> = keys.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
        assert!(twice.is_empty(), "{twice:?}");
    }

    #[test]
    fn an_old_name_is_read_as_the_one_that_counts() {
        assert_eq!(current("Service", "StartLimitInterval"), ("Unit", "StartLimitIntervalSec"));
        assert_eq!(current("Service", "StartLimitBurst"), ("Unit", "StartLimitBurst"));
        assert_eq!(current("Socket", "ReadOnlyDirectories"), ("Socket", "ReadOnlyPaths"));
        assert_eq!(current("X-Mine", "ReadOnlyDirectories"), ("X-Mine", "ReadOnlyDirectories"));
        assert_eq!(current("Socket", "StartLimitBurst"), ("Socket", "StartLimitBurst"));
        assert!(RENAMED.iter().all(|[_, _, _, new]| kind(new) != Kind::Sequence), "each is in the table");
        assert!(is_known("BindTo") && is_known("Delegate") && !is_known("Fancy"));
    }

    #[test]
    fn spans_are_compared_by_their_length() {
        let cases = [
            ("50", Some(50_000)),
            ("2min 200ms", Some(120_200)),
            ("2min200ms", Some(120_200)),
            ("1.5s", Some(1_500)),
            ("1 hr", Some(3_600_000)),
            ("0", Some(0)),
            ("infinity", None),
            ("", None),
            ("s", None),
            ("5 parsecs", None),
            ("-1", None),
            ("99999999999999999999", None),
        ];
        for (text, length) in cases {
            assert_eq!(span(text), length.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn a_single_value_has_one_meaning() {
        let same = [
            ("TimeoutStartSec", "0", "infinity"),
            ("TimeoutStopSec", "0s", "infinity"),
            ("RestartSec", "60", "1min"),
            ("NoNewPrivileges", "on", "1"),
            ("WorkingDirectory", "-//a/./b/", "-/a/b"),
            ("WorkingDirectory", "///", "/"),
        ];
        for (key, one, other) in same {
            assert_eq!(meaning(key, one), meaning(key, other), "{key}");
        }
        let differ = [
            ("RestartSec", "0", "infinity"),
            ("TimeoutAbortSec", "0", "infinity"),
            ("TimeoutCleanSec", "0", "infinity"),
            ("WorkingDirectory", "~", "/"),
            ("WorkingDirectory", "/a/../b", "/b"),
            ("SyslogIdentifier", "/a/", "/a"),
        ];
        for (key, one, other) in differ {
            assert_ne!(meaning(key, one), meaning(key, other), "{key}");
        }
    }

    #[test]
    fn booleans_have_one_spelling_and_other_words_their_own() {
        assert_eq!(["On", "TRUE", "1", "strict", "off", "0"].map(switch), ["yes", "yes", "yes", "strict", "no", "no"]);
    }
}
