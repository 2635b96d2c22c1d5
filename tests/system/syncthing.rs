//! syncthing, a program that none of us wrote, as a service whose version can be told.

use crate::env::Env;
use crate::material;

/// Its unit. `--allow-newer-config`: the older version has to start on what the newer one left. `/` answers in both versions;
/// `/rest/noauth/health` is only in the newer one.
const UNIT: &str = "[Service]
User=syncthing
Environment=STNODEFAULTFOLDER=1
ExecStart=/usr/local/bin/syncthing serve --no-browser --no-restart --no-upgrade --logflags=0 --allow-newer-config --home=/var/lib/syncthing
";

#[test]
fn both_versions_serve_one_after_the_other_on_the_same_data() {
    let (shelf, [old, new]) = material::syncthing_releases();
    assert_ne!(old, new);
    let host = Env::boot().with_releases_of(&shelf);
    host.run(&format!(
        "useradd --system --create-home --home-dir /var/lib/syncthing syncthing
        cat >/etc/systemd/system/syncthing.service <<'END'\n{UNIT}END"
    ))
    .success();
    for (tag, health) in [(&old, "403"), (&new, "200"), (&old, "403")] {
        let answered = host.run(&format!(
            "cd /tmp
            curl -fsSLO $GITHUB_API_URL/syncthing/syncthing/releases/download/{tag}/syncthing-linux-{}.tar.gz
            tar -x --no-same-owner -f syncthing-linux-*.tar.gz
            install syncthing /usr/local/bin/.syncthing.new
            mv /usr/local/bin/.syncthing.new /usr/local/bin/syncthing
            systemctl daemon-reload
            systemctl restart syncthing
            for turn in $(seq 200); do curl -fsS -o /dev/null http://127.0.0.1:8384/ 2>/dev/null && break; sleep 0.05; done
            curl -fsS -o /dev/null -w '%header{{x-syncthing-version}} ' http://127.0.0.1:8384/
            curl -sS -o /dev/null -w '%{{http_code}}' http://127.0.0.1:8384/rest/noauth/health",
            material::goarch()
        ));
        assert_eq!(answered.success().stdout(), format!("{tag} {health}"));
    }
}

/// The chain knows nothing of syncthing but where its releases are: another program, another unit, nobody's test material.
#[test]
fn the_chain_upgrades_it_and_rollback_brings_the_old_version_back() {
    let (shelf, [old, new]) = material::syncthing_releases();
    let host = Env::boot().with_tools().with_releases_of(&shelf);
    let goarch = material::goarch();
    host.run(&format!(
        "useradd --system --create-home --home-dir /var/lib/syncthing syncthing
        cat >/etc/systemd/system/syncthing.service <<'END'\n{UNIT}END
        tar -x --no-same-owner -C /usr/local/bin -f /srv/releases/syncthing/syncthing/{old}/syncthing-linux-{goarch}.tar.gz syncthing
        systemctl daemon-reload
        systemctl start syncthing
        cat >/etc/upswap/syncthing.conf <<'END'
SOURCE=gh:syncthing/syncthing
SUMS=checksums.txt
KEY=/srv/releases/minisign.pub
EXTRACT=syncthing
PROBES=\"--http http://127.0.0.1:8384/\"
STABLE=3s
TIMEOUT=60s
END"
    ))
    .success();
    let serves = "for turn in $(seq 200); do curl -fsS -o /dev/null http://127.0.0.1:8384/ 2>/dev/null && break; sleep 0.05; done
        curl -fsS -o /dev/null -w '%header{x-syncthing-version}' http://127.0.0.1:8384/";
    assert_eq!(host.run(serves).success().stdout(), old);

    host.run(&format!("upswap upgrade syncthing --version {new}")).success();
    assert_eq!(host.run(serves).success().stdout(), new);
    host.run("svc-wait syncthing --stable 0 --http http://127.0.0.1:8384/rest/noauth/health --body OK").success();

    host.run("rollback syncthing").success();
    assert_eq!(host.run(serves).success().stdout(), old);
    host.run(&format!("syncthing --version | grep -q {old}")).success();
}
