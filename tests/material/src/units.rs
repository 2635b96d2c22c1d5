//! The units of the daemon's releases: the service as `runed print-systemd` prints it, and those that lie in the archives.

/// The unit files in the archive of a release, by name.
#[must_use]
pub fn files(major: u32) -> [(&'static str, String); 3] {
    let hour = if major >= 3 { "05" } else { "03" };
    let port = 7870 + if major >= 3 { major } else { 1 };
    let socket = format!(
        "[Unit]\nDescription=Rune server's socket\n\n[Socket]\nListenStream=127.0.0.1:{port}\n\n[Install]\nWantedBy=sockets.target\n"
    );
    let check =
        "[Unit]\nDescription=Rune check\n\n[Service]\nType=oneshot\nExecStart=/usr/local/bin/rune status\n".to_owned();
    let timer = format!(
        "[Unit]\nDescription=Daily Rune check\n\n[Timer]\nOnCalendar=*-*-* {hour}:00:00\n\n[Install]\nWantedBy=timers.target\n"
    );
    [("runed.socket", socket), ("runed-check.service", check), ("runed-check.timer", timer)]
}

/// The canonical unit: 2 and later raise the limit of open files, 3 and later need no file capability, 4 and later wait longer
/// before a restart.
#[must_use]
pub fn service(
    major: u32,
    user: Option<String>,
    group: Option<String>,
    binary: Option<String>,
    config: Option<String>,
) -> String {
    let user = user.unwrap_or_else(|| "rune".into());
    let group = group.unwrap_or_else(|| user.clone());
    let binary = binary.unwrap_or_else(|| "/usr/local/bin/runed".into());
    let config = config.unwrap_or_else(|| "/etc/rune/runed.conf".into());
    let limits = if major >= 2 { "LimitNOFILE=8192\n" } else { "" };
    let ambient = if major >= 3 {
        "AmbientCapabilities=CAP_NET_BIND_SERVICE\nCapabilityBoundingSet=CAP_NET_BIND_SERVICE\n"
    } else {
        ""
    };
    let delay = if major >= 4 { "2s" } else { "1s" };
    format!(
        "\
[Unit]
Description=Rune server
Documentation=man:runed(8)
After=network-online.target
Wants=network-online.target

[Service]
Type=notify
User={user}
Group={group}
ExecStart={binary} --config {config}
Restart=on-failure
RestartSec={delay}
{limits}{ambient}StateDirectory=rune
ProtectSystem=strict
ProtectHome=yes

[Install]
WantedBy=multi-user.target
"
    )
}
