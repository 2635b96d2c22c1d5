//! The part of GitHub's REST API that speaks of releases, over a shelf of `releases`: what the folders hold is what it says.
//!
//! As the documentation of the API has it ("REST API endpoints for releases"), with or without Enterprise's `/api/v3` in front.
//! Drafts are seen by nobody, `latest` passes over pre-releases, an asset is a redirect to where it is stored.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::http::{Request, Response};
use crate::releases::sha256;

/// How many releases a page has when nothing is asked for, and at most.
const PAGE: usize = 30;
const LARGEST_PAGE: usize = 100;

/// The releases below a folder, as the API tells of them.
#[derive(Clone, Debug)]
pub struct Api {
    dir: PathBuf,
    scheme: &'static str,
}

impl Api {
    /// The API of the shelf in `dir`, reached by `scheme` (`https`).
    #[must_use]
    pub fn of(dir: &Path, scheme: &'static str) -> Self {
        Self { dir: dir.to_owned(), scheme }
    }

    /// The answer to one request.
    #[must_use]
    pub fn answer(&self, request: &Request) -> Response {
        if !matches!(request.method.as_str(), "GET" | "HEAD") {
            return Response::text(405, "only GET\n");
        }
        let path = request.path.strip_prefix("/api/v3").unwrap_or(&request.path);
        let words: Vec<&str> = path.split('/').skip(1).collect();
        if words.iter().any(|w| matches!(*w, "" | "." | "..") || w.contains('%')) {
            return missing();
        }
        let base = format!("{}://{}", self.scheme, request.field("host").unwrap_or("localhost"));
        match words[..] {
            ["repos", owner, repo, "releases", ref rest @ ..] => {
                let repo = Repo { dir: self.dir.join(owner).join(repo), name: format!("{owner}/{repo}"), base };
                repo.answer(rest, request)
            }
            [owner, repo, "releases", "latest"] => self.latest(&base, [owner, repo]),
            [owner, repo, "releases", "download", tag, asset] => self.redirect(&base, [owner, repo, tag, asset]),
            ["stored", owner, repo, tag, asset] => {
                stored(&[owner, repo, tag, asset].iter().fold(self.dir.clone(), |dir, word| dir.join(word)), request)
            }
            _ => missing(),
        }
    }

    /// How many bytes of an answer's body are sent before the connection ends. Everything, unless the shelf has a file
    /// `.ASSET.cut` beside the asset: then the first thousand, and nothing where the rest is asked for.
    #[must_use]
    pub fn sends(&self, request: &Request) -> Option<usize> {
        let stored = Path::new(request.path.strip_prefix("/stored/")?);
        let mark = format!(".{}.cut", stored.file_name()?.to_str()?);
        let cut = self.dir.join(stored.with_file_name(mark)).exists();
        cut.then_some(if request.field("range").is_some() { 0 } else { 1000 })
    }

    /// Where the web shows the latest release: its own page, or the list where none is marked.
    fn latest(&self, base: &str, words: [&str; 2]) -> Response {
        let name = words.join("/");
        let repo = Repo { dir: self.dir.join(&name), name: name.clone(), base: base.to_owned() };
        if !repo.dir.is_dir() {
            return missing();
        }
        let releases = repo.releases();
        let latest = releases.iter().find(|r| r["prerelease"] == json!(false));
        let page = latest.and_then(|r| r["tag_name"].as_str()).map(|tag| format!("/tag/{tag}")).unwrap_or_default();
        let fields = vec![("Location", format!("{base}/{name}/releases{page}"))];
        Response { status: 302, fields, body: Vec::new() }
    }

    /// Where an asset is stored: another host, as with the real one, when this one was asked for by name.
    fn redirect(&self, base: &str, words: [&str; 4]) -> Response {
        let path = words.join("/");
        if !self.dir.join(&path).is_file() {
            return missing();
        }
        let storage = base.replacen("//localhost", "//127.0.0.1", 1);
        let fields = vec![("Location", format!("{storage}/stored/{path}"))];
        Response { status: 302, fields, body: Vec::new() }
    }
}

struct Repo {
    dir: PathBuf,
    name: String,
    base: String,
}

impl Repo {
    fn answer(&self, words: &[&str], request: &Request) -> Response {
        let releases = self.releases();
        if releases.is_empty() && !self.dir.is_dir() {
            return missing();
        }
        match *words {
            [] => self.page(&releases, request),
            ["latest"] => found(releases.iter().find(|r| r["prerelease"] == json!(false))),
            ["tags", tag] => found(releases.iter().find(|r| r["tag_name"] == json!(tag))),
            ["assets", id] => asset(&releases, id, request),
            [id] => found(releases.iter().find(|r| has_id(r, id))),
            _ => missing(),
        }
    }

    /// All releases but drafts, the newest first.
    fn releases(&self) -> Vec<Value> {
        let mut tags: Vec<_> = fs::read_dir(&self.dir).into_iter().flatten().flatten().collect();
        tags.sort_by_key(fs::DirEntry::file_name);
        let releases =
            tags.iter().enumerate().filter_map(|(i, tag)| self.release(i + 1, &tag.file_name().into_string().ok()?));
        let mut releases: Vec<Value> = releases.filter(|r| r["draft"] == json!(false)).collect();
        releases.sort_by(|a, b| b["published_at"].as_str().cmp(&a["published_at"].as_str()));
        releases
    }

    fn release(&self, id: usize, tag: &str) -> Option<Value> {
        let Self { name: repo, base, dir } = self;
        let about: Value = serde_json::from_slice(&fs::read(dir.join(tag).join(".release.json")).ok()?).ok()?;
        let when = &about["published_at"];
        let mut names: Vec<String> =
            fs::read_dir(dir.join(tag)).ok()?.flatten().filter_map(|f| f.file_name().into_string().ok()).collect();
        names.retain(|name| !name.starts_with('.'));
        names.sort();
        let assets = names.iter().enumerate().map(|(i, name)| {
            let content = fs::read(dir.join(tag).join(name)).unwrap_or_default();
            let asset_id = id * 1000 + i;
            json!({
                "id": asset_id,
                "name": name,
                "label": "",
                "state": "uploaded",
                "content_type": content_type(name),
                "size": content.len(),
                "digest": format!("sha256:{}", sha256(&content)),
                "download_count": 0,
                "created_at": when,
                "updated_at": when,
                "url": format!("{base}/repos/{repo}/releases/assets/{asset_id}"),
                "browser_download_url": format!("{base}/{repo}/releases/download/{tag}/{name}"),
            })
        });
        Some(json!({
            "id": id,
            "tag_name": tag,
            "name": tag,
            "body": "",
            "target_commitish": "main",
            "prerelease": about["prerelease"],
            "draft": about["draft"],
            "created_at": when,
            "published_at": when,
            "url": format!("{base}/repos/{repo}/releases/{id}"),
            "html_url": format!("{base}/{repo}/releases/tag/{tag}"),
            "assets_url": format!("{base}/repos/{repo}/releases/{id}/assets"),
            "assets": assets.collect::<Vec<_>>(),
        }))
    }

    fn page(&self, releases: &[Value], request: &Request) -> Response {
        let number =
            |name: &str, default: usize| request.parameter(name).and_then(|v| v.parse().ok()).unwrap_or(default).max(1);
        let (size, page) = (number("per_page", PAGE).min(LARGEST_PAGE), number("page", 1));
        let last = releases.len().div_ceil(size).max(1);
        let shown: Vec<&Value> = releases.iter().skip((page - 1).saturating_mul(size)).take(size).collect();
        let mut response = json_answer(200, &json!(shown));
        let link = |page: usize, rel: &str| {
            let Self { base, name, .. } = self;
            format!("<{base}/repos/{name}/releases?per_page={size}&page={page}>; rel=\"{rel}\"")
        };
        let mut links = Vec::new();
        if page > 1 {
            links.extend([link(page - 1, "prev"), link(1, "first")]);
        }
        if page < last {
            links.extend([link(page + 1, "next"), link(last, "last")]);
        }
        if !links.is_empty() {
            response.fields.push(("Link", links.join(", ")));
        }
        response
    }
}

/// An asset by its number: what the API says of it, or where it is when its bytes are asked for.
fn asset(releases: &[Value], id: &str, request: &Request) -> Response {
    let mut assets = releases.iter().filter_map(|r| r["assets"].as_array()).flatten();
    let Some(asset) = assets.find(|a| has_id(a, id)) else { return missing() };
    if request.field("accept").is_some_and(|kind| kind.contains("octet-stream")) {
        let location = asset["browser_download_url"].as_str().unwrap_or_default().to_owned();
        return Response { status: 302, fields: vec![("Location", location)], body: Vec::new() };
    }
    json_answer(200, asset)
}

/// The bytes of an asset, from the offset on that is asked for (RFC 9110, "Range Requests": the open form `bytes=N-` alone).
fn stored(path: &Path, request: &Request) -> Response {
    let Ok(body) = fs::read(path) else { return missing() };
    let tag = format!("\"{}\"", sha256(&body));
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let mut fields = vec![
        ("Content-Type", content_type(&name).to_owned()),
        ("Content-Disposition", format!("attachment; filename={name}")),
        ("Accept-Ranges", "bytes".to_owned()),
        ("ETag", tag.clone()),
    ];
    let unchanged = request.field("if-range").is_none_or(|known| known == tag);
    let offset =
        request.field("range").and_then(|r| r.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
    match offset {
        Some(offset) if unchanged && offset >= body.len() => Response {
            status: 416,
            fields: vec![("Content-Range", format!("bytes */{}", body.len()))],
            body: Vec::new(),
        },
        Some(offset) if unchanged => {
            fields.push(("Content-Range", format!("bytes {offset}-{}/{}", body.len() - 1, body.len())));
            Response { status: 206, fields, body: body[offset..].to_vec() }
        }
        _ => Response { status: 200, fields, body },
    }
}

fn has_id(value: &Value, id: &str) -> bool {
    id.parse().is_ok_and(|id: u64| value["id"] == id)
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, end)| end) {
        Some("gz") => "application/gzip",
        Some("txt") => "text/plain",
        _ => "application/octet-stream",
    }
}

fn found(value: Option<&Value>) -> Response {
    value.map_or_else(missing, |value| json_answer(200, value))
}

fn missing() -> Response {
    json_answer(404, &json!({ "message": "Not Found", "status": "404" }))
}

fn json_answer(status: u16, value: &Value) -> Response {
    let fields = vec![("Content-Type", "application/json; charset=utf-8".to_owned())];
    Response { status, fields, body: value.to_string().into_bytes() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// v1.0.0 to v1.0.4, the last one a pre-release, and a draft.
    fn shelf() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (day, tag) in ["v1.0.0", "v1.0.1", "v1.0.2", "v1.0.3", "v1.0.4", "v2.0.0"].iter().enumerate() {
            let release = dir.path().join("o/r").join(tag);
            fs::create_dir_all(&release).unwrap();
            fs::write(release.join("a.tar.gz"), tag).unwrap();
            let about = json!({
                "prerelease": day == 4, "draft": day == 5, "published_at": format!("2026-01-0{}T12:00:00Z", day + 1),
            });
            fs::write(release.join(".release.json"), about.to_string()).unwrap();
        }
        dir
    }

    fn ask(dir: &Path, target: &str, fields: &str) -> Response {
        let head = format!("GET {target} HTTP/1.1\r\nHost: localhost:8443\r\n{fields}\r\n");
        Api::of(dir, "https").answer(&Request::read(&mut head.as_bytes()).unwrap())
    }

    fn tags(response: &Response) -> Vec<String> {
        let releases: Vec<Value> = serde_json::from_slice(&response.body).unwrap();
        releases.iter().map(|r| r["tag_name"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn pages_lead_from_the_newest_to_the_oldest_and_show_no_draft() {
        let shelf = shelf();
        let first = ask(shelf.path(), "/repos/o/r/releases?per_page=3", "");
        assert_eq!(tags(&first), ["v1.0.4", "v1.0.3", "v1.0.2"]);
        let link = &first.fields.iter().find(|(k, _)| *k == "Link").unwrap().1;
        assert!(
            link.starts_with("<https://localhost:8443/repos/o/r/releases?per_page=3&page=2>; rel=\"next\""),
            "{link}"
        );
        let second = ask(shelf.path(), "/api/v3/repos/o/r/releases?per_page=3&page=2", "");
        assert_eq!(tags(&second), ["v1.0.1", "v1.0.0"]);
        assert!(!second.fields.iter().any(|(_, v)| v.contains("next")));
    }

    #[test]
    fn latest_is_the_newest_that_is_no_pre_release() {
        let shelf = shelf();
        let latest: Value = serde_json::from_slice(&ask(shelf.path(), "/repos/o/r/releases/latest", "").body).unwrap();
        assert_eq!(latest["tag_name"], "v1.0.3");
        let web = ask(shelf.path(), "/o/r/releases/latest", "");
        assert_eq!((web.status, web.fields[0].1.as_str()), (302, "https://localhost:8443/o/r/releases/tag/v1.0.3"));
        assert_eq!(ask(shelf.path(), "/o/none/releases/latest", "").status, 404);
        assert_eq!(ask(shelf.path(), "/repos/o/r/releases/tags/v1.0.4", "").status, 200);
        for nothing in ["tags/v2.0.0", "tags/v7", "assets/1"] {
            assert_eq!(ask(shelf.path(), &format!("/repos/o/r/releases/{nothing}"), "").status, 404, "{nothing}");
        }
        assert_eq!(ask(shelf.path(), "/repos/o/none/releases", "").status, 404);
    }

    #[test]
    fn an_asset_is_a_redirect_to_another_host_and_can_be_resumed() {
        let shelf = shelf();
        let response = ask(shelf.path(), "/o/r/releases/download/v1.0.0/a.tar.gz", "");
        assert_eq!(response.status, 302);
        let location = &response.fields[0].1;
        assert_eq!(location, "https://127.0.0.1:8443/stored/o/r/v1.0.0/a.tar.gz");
        let path = "/stored/o/r/v1.0.0/a.tar.gz";
        assert_eq!(ask(shelf.path(), path, "").body, b"v1.0.0");
        let tag = sha256(b"v1.0.0");
        let rest = ask(shelf.path(), path, &format!("Range: bytes=4-\r\nIf-Range: \"{tag}\"\r\n"));
        assert_eq!((rest.status, rest.body.as_slice()), (206, b".0".as_slice()));
        assert_eq!(ask(shelf.path(), path, "Range: bytes=4-\r\nIf-Range: \"other\"\r\n").status, 200);
        assert_eq!(ask(shelf.path(), path, "Range: bytes=6-\r\n").status, 416);
    }

    #[test]
    fn nothing_outside_the_shelf_is_served() {
        let shelf = shelf();
        for path in ["/stored/../../../etc/passwd", "/stored/o/r/../../passwd", "/stored/o/r/%2e%2e/passwd", "/"] {
            assert_eq!(ask(shelf.path(), path, "").status, 404, "{path}");
        }
    }
}
