//! Units as nobody writes them twice: what the real ones don't have, and a parser must have right all the same.

/// Paths below `/etc/systemd/system`, and what is in them. Each is a unit that systemd loads.
pub const UNITS: &[(&str, &[u8])] = &[
    // What a key that was reset must be again.
    ("plain.service", b"[Service]\nExecStart=/bin/true\n"),
    ("plain.socket", b"[Socket]\nListenStream=/run/plain\n"),
    ("plain.timer", b"[Timer]\nOnBootSec=1h\n"),
    ("plain.path", b"[Path]\nPathExists=/plain\n"),
    ("plain.target", b"[Unit]\n"),
    ("odd-known.service", b"[Service]\nExecStart=/bin/true\nSystemCallFilter=@known\n"),
    (
        "odd-continued.service",
        b"[Unit]\nDescription=one \\\n# a comment\n  two \\\n; another \\\n\tthree\nDocumentation=man:a(1) \\\n\n\
          After=not-continued.target\n[Service]\nExecStart=/bin/echo a \\\n  # no comment \\\n b\\\nc\n\
          Environment=A=1 \\\n   # b \\\n   B=2 \\\n\nEnvironment=C=3\\\\\nUser=root\\\\\nUser=root\n",
    ),
    (
        "odd-blanks.service",
        b"  [Unit]  \n \t Description \t=\t spaced  out \t \n\n[Service]   \nExecStart = /bin/echo\ta  b   \n   Nice   =   5\nUMask=  0027\n",
    ),
    (
        "odd-crlf.service",
        b"\xef\xbb\xbf[Unit]\r\nDescription=from afar \\\r\n and on\r\n[Service]\r\nExecStart=/bin/echo x\r\nNice=3\r\nEnvironment=A=1\r\n\r\n",
    ),
    ("odd-cr.service", b"[Unit]\rDescription=old\r[Service]\rExecStart=/bin/echo x\rNice=4\r\r\rOOMScoreAdjust=7"),
    ("odd-nul.service", b"[Unit]\nDescription=before\0[Service]\0ExecStart=/bin/echo x\0\0Nice=6\n"),
    ("odd-end.service", b"[Service]\nExecStart=/bin/echo x\nNice=7\nEnvironment=A=1 \\"),
    (
        "odd-mark-inside.service",
        b"# a comment first\n\xef\xbb\xbf[Service]\nExecStart=/bin/echo x\nNice=8\n[Unit]\nDescription=\xef\xbb\xbfmarked\n",
    ),
    (
        "odd-sections.service",
        b"Nice=1\n[X-Mine]\nNice=2\nDescription=no\n[Service]\nExecStart=/bin/echo x\n[Unknown]\nNice=9\n[service]\nNice=10\n\
          [Unit]\nDescription=yes\nNice=11\n[Service]\nNice=3\n[Unit]\nDocumentation=man:a(1)\n[X-Mine]\nDocumentation=man:b(1)\n",
    ),
    (
        "odd-ignored.service",
        b"[Service]\nExecStart=/bin/echo x\nnonsense\n=nokey\nNice 5\nNice=2\n:Nice=3\nNotAKey=4\nX-Key=5\n[Unit]\nDescription=a=b=c\n",
    ),
    (
        "odd-quotes.service",
        b"[Service]\nEnvironment=\"A=one two\" 'B=it\"s' C=\"in\"side D=\\x41\\101\\u00e4\\s\\t. \"E=\" F='a\\'b' \"G=100%%\"\n\
          ExecStart=/bin/echo \"a b\" 'c \"d\"' e\"f g\"h \"\" \\x20 $A ${B} \\\\ \\; ; /bin/echo ; /bin/echo ';' z\nType=oneshot\n\
          ExecStartPre=-/bin/echo ignored\nExecStartPre=+@/bin/echo zero one\nExecStartPre=:/bin/echo $NOT\n\
          ExecStartPre=!/bin/echo\nExecStartPre=!!-/bin/echo\nExecStop=@-/bin/echo argv0 'x y'\nReadWritePaths=\"/with blank\" -/gone +/in /x\n",
    ),
    (
        "odd-repeated.service",
        b"[Unit]\nDescription=first\nDescription=second\nAfter=a.target\nAfter=\nAfter=b.target\nConditionPathExists=/a\n\
          ConditionPathExists=|!/b\nConditionHost=h\n[Service]\nExecStart=/bin/a\nExecStart=\nExecStart=/bin/b\nUser=a\nUser=\n\
          Nice=1\nNice=2\nEnvironment=A=1 B=1\nEnvironment=A=2\nPassEnvironment=X\nPassEnvironment=\nPassEnvironment=Y Z\n\
          ReadOnlyPaths=/a /b\nReadOnlyPaths=\nSupplementaryGroups=a b\nSupplementaryGroups=c\nEnvironmentFile=/a\nEnvironmentFile=-/b\n\
          LimitNOFILE=1024:4096\nLimitCORE=infinity\nRestartSec=1min 30s 5ms\nTimeoutStopSec=1.5\nTimeoutStartSec=infinity\n\
          WatchdogSec=2h\nRuntimeDirectory=z a\nRuntimeDirectory=m\nRuntimeDirectoryMode=0750\nCapabilityBoundingSet=CAP_KILL CAP_CHOWN\n\
          CapabilityBoundingSet=~CAP_KILL\nAmbientCapabilities=CAP_CHOWN cap_kill\nAmbientCapabilities=~CAP_KILL\n\
          SuccessExitStatus=3 SIGHUP\nSuccessExitStatus=DATAERR\nRestartPreventExitStatus=1\nRestartPreventExitStatus=\n\
          MemoryMax=1G\nMemoryHigh=512M\nMemoryLow=1024\nCPUQuota=150%\nIOWeight=50\nTasksMax=100\nStandardOutput=append:/var/log/x\n",
    ),
    (
        "odd-resets.service",
        b"[Unit]\nConditionPathExists=/a\nConditionHost=h\nConditionUser=\nConditionUser=root\nAssertPathExists=/a\nAssertPathExists=\n\
          Documentation=man:a(1)\nDocumentation=\n[Service]\nExecStart=/bin/a\nExecStartPre=/bin/a\nExecStartPre=\nType=notify\nType=simple\n\
          CapabilityBoundingSet=CAP_KILL\nCapabilityBoundingSet=\nAmbientCapabilities=CAP_KILL\nAmbientCapabilities=\n\
          Environment=A=1\nEnvironment=\nEnvironmentFile=/a\nEnvironmentFile=\nReadWritePaths=/a\nReadWritePaths=\n\
          SystemCallFilter=@system-service\nSystemCallFilter=\nRestrictAddressFamilies=AF_UNIX\nRestrictAddressFamilies=\n\
          RestrictNamespaces=yes\nRestrictNamespaces=\nUnsetEnvironment=A\nUnsetEnvironment=\nSupplementaryGroups=a\nSupplementaryGroups=\n\
          DeviceAllow=/dev/null rw\nDeviceAllow=\nIPAddressDeny=any\nIPAddressDeny=\nLoadCredential=a:/b\nLoadCredential=\n\
          StateDirectory=a\nStateDirectory=\nBindPaths=/a\nBindPaths=\nTemporaryFileSystem=/a\nTemporaryFileSystem=\n\
          InaccessiblePaths=/a\nInaccessiblePaths=\nLogExtraFields=A=1\nLogExtraFields=\nWorkingDirectory=/a\nWorkingDirectory=\n\
          SystemCallArchitectures=native\nSystemCallArchitectures=\nKillSignal=SIGINT\nUser=a\nUser=\nGroup=a\nGroup=\n\
          SyslogIdentifier=a\nSyslogIdentifier=\nPIDFile=/run/a\nPIDFile=\nUMask=077\nTTYPath=/dev/tty1\nTTYPath=\n\
          RootDirectory=/a\nRootDirectory=\nPAMName=a\nPAMName=\nSuccessExitStatus=1\nSuccessExitStatus=\nStandardInput=tty\nStandardInput=null\n",
    ),
    // What an empty value is to each of the keys that have one.
    (
        "odd-empty.service",
        b"[Unit]\nDescription=a\nDescription=\nStartLimitBurst=9\nStartLimitBurst=\nJobTimeoutSec=5\nJobTimeoutSec=\nCollectMode=inactive-or-failed\n\
          CollectMode=\nStopWhenUnneeded=yes\nStopWhenUnneeded=\nRefuseManualStop=no\nOnFailureJobMode=fail\nOnFailureJobMode=\n[Service]\n\
          ExecStart=/bin/a\nRestart=always\nRestart=\nRestartSec=5\nRestartSec=\nNice=5\nNice=\nOOMScoreAdjust=5\nOOMScoreAdjust=\n\
          NoNewPrivileges=yes\nNoNewPrivileges=\nProtectSystem=strict\nProtectSystem=\nProtectHome=read-only\nProtectHome=\nPrivateTmp=yes\n\
          PrivateTmp=\nUMask=0077\nUMask=\nLimitNOFILE=1234\nLimitNOFILE=\nKillMode=mixed\nKillMode=\nKillSignal=SIGINT\nKillSignal=\n\
          SendSIGKILL=no\nSendSIGKILL=\nMemoryMax=1G\nMemoryMax=\nTasksMax=7\nTasksMax=\nCPUWeight=7\nCPUWeight=\nCPUQuota=50%\nCPUQuota=\n\
          StandardOutput=null\nStandardOutput=\nStandardError=null\nStandardError=\nSyslogLevel=debug\nSyslogLevel=\nLogLevelMax=info\n\
          LogLevelMax=\nRootDirectory=/a\nRootDirectory=\nWatchdogSec=5\nWatchdogSec=\nRuntimeMaxSec=5\nRuntimeMaxSec=\nType=notify\nType=\n\
          NotifyAccess=all\nNotifyAccess=\nRemainAfterExit=yes\nRemainAfterExit=\nGuessMainPID=no\nGuessMainPID=\nOOMPolicy=continue\nOOMPolicy=\n\
          IOSchedulingClass=idle\nIOSchedulingClass=\nIOSchedulingPriority=3\nIOSchedulingPriority=\nCPUSchedulingPolicy=batch\nCPUSchedulingPolicy=\n\
          StateDirectoryMode=0700\nStateDirectoryMode=\nKeyringMode=shared\nKeyringMode=\nPersonality=x86-64\nPersonality=\n\
          SystemCallErrorNumber=EACCES\nSystemCallErrorNumber=\nProtectProc=invisible\nProtectProc=\nProcSubset=pid\nProcSubset=\n\
          TimeoutAbortSec=5\nTimeoutAbortSec=\nTimeoutCleanSec=5\nTimeoutCleanSec=\nFileDescriptorStoreMax=3\nFileDescriptorStoreMax=\n\
          DevicePolicy=closed\nDevicePolicy=\nAppArmorProfile=a\nAppArmorProfile=\nSlice=odd.slice\nSlice=\nUtmpMode=login\nUtmpMode=\n",
    ),
    // A default that is said is one that is not said.
    (
        "odd-defaults.service",
        b"[Unit]\nCollectMode=inactive\nOnFailureJobMode=replace\nJobTimeoutSec=0\nJobRunningTimeoutSec=0\nStartLimitAction=none\n[Service]\n\
          ExecStart=/bin/a\nRestart=no\nNoNewPrivileges=no\nProtectSystem=no\nUMask=0022\nSendSIGKILL=yes\nGuessMainPID=yes\nKillSignal=SIGTERM\n\
          StateDirectoryMode=0755\nKeyringMode=private\nDevicePolicy=auto\nSyslogLevel=info\nSyslogFacility=daemon\nRuntimeMaxSec=infinity\n\
          WatchdogSec=0\nTimeoutAbortSec=0\nTimeoutCleanSec=infinity\n",
    ),
    (
        "odd-timeouts.service",
        b"[Unit]\nJobTimeoutSec=7\nJobRunningTimeoutSec=8\n[Service]\nExecStart=/bin/a\nTimeoutStopSec=3\nTimeoutSec=4\nTimeoutSec=\nTimeoutStopSec=\n\
          TimeoutStartSec=6\n",
    ),
    ("odd-endless.service", b"[Service]\nExecStart=/bin/a\nTimeoutSec=0\nTimeoutAbortSec=0\nTimeoutCleanSec=0\nRestartSec=0\n"),
    ("odd-endless-start.service", b"[Service]\nExecStart=/bin/a\nTimeoutSec=4\nTimeoutStartSec=0\n"),
    ("odd-all-capabilities.service", b"[Service]\nExecStart=/bin/a\nCapabilityBoundingSet=CAP_KILL\nCapabilityBoundingSet=~\nAmbientCapabilities=CAP_KILL\nAmbientCapabilities=~\n"),
    ("odd-no-capabilities.service", b"[Service]\nExecStart=/bin/a\nCapabilityBoundingSet=\nCapabilityBoundingSet=~CAP_KILL\nAmbientCapabilities=\nAmbientCapabilities=~CAP_KILL\n"),
    ("odd-few-capabilities.service", b"[Service]\nExecStart=/bin/a\nCapabilityBoundingSet=~CAP_KILL\nCapabilityBoundingSet=\nCapabilityBoundingSet=~CAP_KILL\nCapabilityBoundingSet=CAP_CHOWN\nAmbientCapabilities=CAP_KILL\nAmbientCapabilities=~CAP_KILL\nAmbientCapabilities=CAP_CHOWN\n"),
    ("odd-anew-capabilities.service", b"[Service]\nExecStart=/bin/a\nCapabilityBoundingSet=CAP_KILL\nCapabilityBoundingSet=~\nCapabilityBoundingSet=CAP_CHOWN\n"),
    ("odd-delegate.service", b"[Service]\nExecStart=/bin/a\nDelegate=cpu\nDelegate=\n"),
    ("odd-delegate-not.service", b"[Service]\nExecStart=/bin/a\nDelegate=cpu\nDelegate=no\n"),
    ("odd-namespaces.service", b"[Service]\nExecStart=/bin/a\nRestrictNamespaces=net\nRestrictNamespaces=yes\n"),
    (
        "odd-paths.service",
        b"[Service]\nExecStart=/bin/a\nWorkingDirectory=-/a//b/\nRootDirectory=/c/./d/\nPIDFile=/run//e\nReadWritePaths=/f/ -//g /h/./i\nReadOnlyPaths=+/j/\n\
          InaccessiblePaths=/k//\nExecPaths=/l/\nNoExecPaths=/\nEnvironmentFile=-/m//n\n",
    ),
    ("odd-home.service", b"[Service]\nExecStart=/bin/a\nWorkingDirectory=~\n"),
    (
        "odd-filters.service",
        b"[Service]\nExecStart=/bin/a\nSystemCallFilter=@file-system write\nSystemCallFilter=~@sync write\nSystemCallFilter=read\n\
          SystemCallErrorNumber=EACCES\nRestrictAddressFamilies=AF_UNIX AF_INET\nRestrictAddressFamilies=AF_INET6\n\
          RestrictAddressFamilies=~AF_INET\nRestrictNamespaces=net ipc\nCapabilityBoundingSet=~CAP_SYS_ADMIN CAP_KILL\n\
          CapabilityBoundingSet=~CAP_CHOWN\nSystemCallArchitectures=native x86\n",
    ),
    (
        "odd-denied.service",
        b"[Service]\nExecStart=/bin/a\nSystemCallFilter=~@swap\nSystemCallFilter=~@reboot\nSystemCallFilter=reboot\n\
          RestrictAddressFamilies=~AF_PACKET AF_NETLINK\nRestrictNamespaces=~user cgroup\nPrivateDevices=1\nProtectSystem=on\nProtectHome=false\n",
    ),
    (
        "odd-words.service",
        b"[Service]\nExecStart=/bin/a\nNoNewPrivileges=On\nPrivateNetwork=y\nPrivateTmp=t\nRemoveIPC=TRUE\nDynamicUser=0\nProtectClock=f\n\
          SendSIGHUP=1\nGuessMainPID=off\nRestart=on-failure\nKillMode=mixed\nKillSignal=SIGINT\nFinalKillSignal=9\nWatchdogSignal=RTMIN+1\n\
          IOSchedulingClass=best-effort\nIOSchedulingPriority=2\nCPUSchedulingPolicy=batch\nNice=-5\nOOMScoreAdjust=-100\nUMask=0077\n\
          BindPaths=/a:/b\nBindReadOnlyPaths=/c\nBindPaths=/d\nTemporaryFileSystem=/e:ro /f\nDeviceAllow=/dev/null rw\nDeviceAllow=char-pts\n\
          LogExtraFields=A=1\nLogExtraFields=B=two\nSetCredential=a:b\nLoadCredential=c:/d\nDelegate=cpu memory\nOOMPolicy=kill\n\
          StandardInput=tty-force\nStandardOutput=journal+console\nTTYPath=/dev/tty9\nSyslogIdentifier=me\nSyslogLevel=debug\n\
          SyslogFacility=local0\nLogLevelMax=warning\nKeyringMode=shared\nPersonality=x86-64\nLimitNPROC=10\nLimitCPU=10min\nLimitMEMLOCK=64K\n\
          LimitNICE=+5\nIPAddressAllow=10.0.0.0/8 localhost\nIPAddressDeny=any\nTimerSlackNSec=1ms\nRuntimeMaxSec=1d\nCoredumpFilter=0x33\n\
          SecureBits=keep-caps noroot\nCPUAffinity=0 1\nReadWritePaths=/x\nExecPaths=/a\nNoExecPaths=/b\nExecSearchPath=/a:/b\n",
    ),
    (
        "odd-old-names.service",
        b"[Unit]\nBindTo=a.target\nPropagateReloadTo=b.target\nPropagateReloadFrom=c.target\nRequiresOverridable=d.target\n\
          RequisiteOverridable=e.target\n[Service]\nExecStart=/bin/a\nStartLimitInterval=77\nStartLimitBurst=7\nFailureAction=reboot\n\
          StartLimitAction=reboot\nRebootArgument=now\nReadWriteDirectories=/a /b\nReadOnlyDirectories=/c\nReadOnlyPaths=/d\n\
          InaccessibleDirectories=-/e\n",
    ),
    ("odd-drop-ins.service", b"[Unit]\nDescription=base\nAfter=base.target\n[Service]\nExecStart=/bin/base\nEnvironment=A=1 B=1\nUser=base\nNice=1\n"),
    ("odd-drop-ins.service.d/10-first.conf", b"[Service]\nExecStart=\nExecStart=/bin/first \\\n# in between\n  --flag\nEnvironment=B=2\nNice=2\n"),
    ("odd-drop-ins.service.d/20-second.conf", b"[Service]\nEnvironment=C=3\nUser=\nNice=3\n[Unit]\nAfter=second.target\nDescription=second\n"),
    ("odd-.service.d/05-of-all-odd-ones.conf", b"[Service]\nOOMScoreAdjust=11\nNice=9\n[Unit]\nAfter=all-odd.target\n"),
    (
        "odd.socket",
        b"[Socket]\nListenStream=/run/a\nListenStream=\nListenStream=/run/b\nListenStream=127.0.0.1:1\nListenDatagram=2\nListenFIFO=/run/f\n\
          SocketMode=0600\nSocketUser=root\nBacklog=5\nMaxConnections=3\nKeepAlive=yes\nKeepAliveTimeSec=3s\nReceiveBuffer=8M\nSymlinks=/run/c /run/d\n\
          Service=odd-words.service\nBindIPv6Only=both\nFileDescriptorName=x\nTriggerLimitIntervalSec=7s\nTriggerLimitBurst=9\nTimeoutSec=3\n",
    ),
    (
        "odd.timer",
        b"[Timer]\nOnCalendar=daily\nOnBootSec=1h\nOnBootSec=\nOnCalendar=weekly\nOnCalendar=Mon..Fri 10:00\nOnUnitActiveSec=30min\nOnBootSec=5\n\
          AccuracySec=1s\nRandomizedDelaySec=1h 5min\nPersistent=yes\nUnit=odd-words.service\nOnClockChange=true\n",
    ),
    ("odd.path", b"[Path]\nPathExists=/a\nPathChanged=\nPathModified=/b\nDirectoryNotEmpty=/c\nMakeDirectory=yes\nUnit=odd-words.service\nDirectoryMode=0700\n"),
    ("odd@.service", b"[Unit]\nDescription=for %i\nAfter=odd-%i.target\n[Service]\nExecStart=/bin/echo %i\nNice=5\nEnvironment=A=%i B=100%%\n"),
];

/// What systemd refuses to load, each as a whole.
pub const REFUSED: &[(&str, &[u8])] = &[
    ("bad-section.service", b"[Service\nExecStart=/bin/echo x\n"),
    ("bad-after-section.service", b"[Service] # c\nExecStart=/bin/echo x\n"),
    ("bad-utf8.service", b"[Unit]\nDescription=\xff\n[Service]\nExecStart=/bin/echo x\n"),
    ("bad-noncharacter.service", b"[Unit]\nDescription=\xef\xb7\x90\n[Service]\nExecStart=/bin/echo x\n"),
];
