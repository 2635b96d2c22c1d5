//! Secrets that systemd hands to a service: files in `$CREDENTIALS_DIRECTORY` (systemd.exec(5), `LoadCredential=`).

use std::env;
use std::io;
use std::path::PathBuf;

use super::intake;

/// A token for the GitHub API.
pub const GITHUB_TOKEN: &str = "github-token";
/// Header lines for the host of the source, `NAME: VALUE` each.
pub const FETCH_HEADER: &str = "fetch-header";

/// The credential of this name, without the blanks around it; `None` when this service was given none.
pub fn read(name: &str) -> io::Result<Option<String>> {
    let Some(folder) = env::var_os("CREDENTIALS_DIRECTORY").filter(|folder| !folder.is_empty()) else {
        return Ok(None);
    };
    let path = PathBuf::from(folder).join(name);
    let failed = |why: String| io::Error::other(format!("{}: the credential could not be read: {why}", path.display()));
    match intake::read_small(&path) {
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(text) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
            Err(_) => Err(failed("it is not UTF-8".into())),
        },
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(failed(e.to_string())),
    }
}
