//! The command line of verify.

use std::path::PathBuf;

use clap::Parser;
use clap::builder::{OsStringValueParser, TypedValueParser};
use upswap::report::{Common, ListArgs};
use upswap::steps::artifact::evidence::{Evidence, Given, KeyPlace, SIGSTORE, SshSigners, Trusted, Untrusted};
use upswap::steps::artifact::run::Runs;
use upswap::sys::confine::Walls;
use upswap::words::call::Call;
use upswap::words::digest::Digest;
use upswap::words::duration::Span;
use upswap::words::elf::Machine;
use upswap::words::exit::Stop;
use upswap::words::identity::Identity;
use upswap::words::member::{FileName, Wanted};
use upswap::words::release::Version;
use upswap::words::statement::Who;

/// Where the options of Sigstore stand in the man page, and in --help when this verify has it.
pub const SIGSTORE_HEADING: &str = "Sigstore, only in a verify that was built with it";

/// The examples in --help and in the man page.
pub const EXAMPLES: &str = "\
Examples:
  Take two programs out of a release whose list is signed:
    verify --sums checksums.txt --minisign rune.pub --extract rune,runed \\
      rune_linux_amd64.tar.gz
  The list is signed by the SSH key of this principal:
    verify --sums SHA256SUMS --ssh rune.signers --signer release@rune.dev rune
  Is this the file that the list means? Store nothing:
    verify --check --sums checksums.txt rune_linux_amd64.tar.gz
  Only when the new program takes the configuration that the service has:
    verify --sums checksums.txt --extract runed --run-as rune \\
      --run 'config check /etc/rune.yaml' rune_linux_amd64.tar.gz
  Verify what fetch printed:
    fetch gh:runestack/rune@v2.0.0 --sums checksums.txt |
      verify --sums checksums.txt --extract rune --files-from -";

/// Prove files by evidence and put them, or members of them, into the store
///
/// Each FILE is copied into a file that nobody else can open, and that copy is proven: by a checksum list, a digest, a
/// signature, or several of these, which must all hold. From it the wanted members are taken; what is stored must be a
/// program for this machine with its loader, libraries and symbol versions present, a script, or text. The paths in the store are printed, one a line, when all
/// is good, and nothing is printed otherwise.
///
/// A list or signature whose name holds no '/' is looked up beside FILE; ./NAME is the current folder. Keys are not.
/// With --sums a signature speaks of the list, and an entry speaks of FILE when the last part of its name is FILE's.
///
/// What --run names is run before anything is stored, in namespaces of its own: no network, not even a loopback, no other
/// processes, every file system read-only, /tmp, /var/tmp, /run and /dev its own and empty, sockets covered, no capability and
/// no new privileges. A user who is not root needs user namespaces for that and runs it as themselves.
#[derive(Parser, Clone, Debug)]
#[command(
    name = "verify",
    version = upswap::report::VERSION,
    after_help = EXAMPLES,
    disable_help_flag = true,
    disable_version_flag = true
)]
pub struct Args {
    /// Checksum list (GNU or BSD form, SHA-256 or SHA-512) that has an entry for each FILE
    #[arg(long, value_name = "LIST", help_heading = "Evidence")]
    pub sums: Option<PathBuf>,
    /// Digest of the one FILE, 64 hexadecimal digits
    #[arg(long, value_name = "HEX", help_heading = "Evidence")]
    pub sha256: Option<Digest>,
    /// Minisign public key, in base64 or as a .pub file, that signed LIST, or each FILE without --sums
    #[arg(long, value_name = "KEY", value_parser = OsStringValueParser::new().map(KeyPlace::from), help_heading = "Evidence")]
    pub minisign: Option<KeyPlace>,
    /// File of the SSH keys that may have signed it so, as ssh-keygen(1) has it: PRINCIPALS [OPTIONS] TYPE KEY
    #[arg(long, value_name = "ALLOWED_SIGNERS", help_heading = "Evidence")]
    pub ssh: Option<PathBuf>,
    /// What the SSH signature was made for (ssh-keygen -Y sign -n)
    #[arg(long, value_name = "NAMESPACE", default_value = "file", requires = "ssh", help_heading = "Evidence")]
    pub ssh_namespace: String,
    /// Keyring of the OpenPGP keys that may have signed it so, binary or in armor; gpgv(1) judges
    #[arg(long, value_name = "KEYRING", help_heading = "Evidence")]
    pub gpg: Option<PathBuf>,
    /// Take no other signer than WHO: a fingerprint, a minisign key's number, or a principal of an SSH key; may be given
    /// several times, for any of them
    #[arg(long, value_name = "WHO", help_heading = "Evidence")]
    pub signer: Vec<Who>,
    /// Signature file [default: name of what is signed + .minisig; .sig with --ssh; .asc, else .sig, with --gpg]
    #[arg(long, value_name = "NAME", help_heading = "Evidence")]
    pub sig: Option<PathBuf>,

    #[command(flatten)]
    pub sigstore: SigstoreArgs,

    /// Refuse what is signed, was fetched, or calls itself as another version than V: the first line that --run's '--version',
    /// '-V' or 'version' prints, else its first call. v, +BUILD and a traceability tag's end don't count [default: the version
    /// that fetch recorded]
    #[arg(
        long,
        value_name = "V",
        value_parser = |text: &str| text.parse::<Version>().map(|_| text.to_owned()),
        help_heading = "Demands"
    )]
    pub expect_version: Option<String>,
    /// Refuse a version below the one in this FILE (with a / in its path), or below the highest that was proven healthy under
    /// this NAME; while there is no floor it refuses nothing
    #[arg(long, value_name = "NAME|FILE", help_heading = "Demands")]
    pub floor: Option<PathBuf>,
    /// Refuse what does not meet this policy, see upswap.policy(5); it must be root's or yours, and nobody else's to write
    #[arg(long, value_name = "FILE", help_heading = "Demands")]
    pub policy: Option<PathBuf>,

    /// Files to take from an archive: NAME is the member of that path or whose path ends in /NAME; MEMBER, when it is
    /// called otherwise there, ./MEMBER its whole path; a FILE that is no archive is stored as NAME
    #[arg(
        long,
        value_name = "NAME[=MEMBER]",
        value_delimiter = ',',
        value_parser = OsStringValueParser::new().try_map(Wanted::parse)
    )]
    pub extract: Vec<Wanted>,
    /// Name to store the one FILE under; its name in the evidence too when FILE is -
    #[arg(long = "as", value_name = "NAME", value_parser = OsStringValueParser::new().try_map(FileName::parse))]
    pub name: Option<FileName>,
    /// Machine that programs must be for, as a target triple or its first part, instead of this host; the loader and
    /// libraries of that machine are not known and not checked
    #[arg(long, value_name = "TRIPLE", conflicts_with = "run")]
    pub target: Option<Machine>,
    /// Run the program with these words, split as a shell does but not expanded; it must end with status 0. NAME says which,
    /// when several are stored. May be repeated
    #[arg(
        long,
        value_name = "[NAME: ]ARGS",
        allow_hyphen_values = true,
        value_parser = OsStringValueParser::new().try_map(Call::parse),
        help_heading = "Running"
    )]
    pub run: Vec<Call>,
    /// User, and group, to run it as, with the supplementary groups that a service of theirs has [default: nobody]. As root it
    /// has no capability either; only root can say this
    #[arg(long, value_name = "USER[:GROUP]", requires = "run", help_heading = "Running")]
    pub run_as: Option<String>,
    /// How long each run may take before it and all it started is killed
    #[arg(long, value_name = "TIME", default_value = "10s", requires = "run", help_heading = "Running")]
    pub run_timeout: Span,
    /// Run it without namespaces where this host gives none, and where it does: it sees the network and all processes and writes
    /// what its user may write
    #[arg(long, requires = "run", help_heading = "Running")]
    pub run_unconfined: bool,
    /// Check the evidence alone, store nothing, and print the FILEs that hold
    #[arg(long, conflicts_with_all = ["extract", "target", "run"])]
    pub check: bool,

    #[command(flatten)]
    pub list: ListArgs,
    /// End each printed path with NUL, not newline
    #[arg(short = '0', long)]
    pub null: bool,
    /// Files to verify; - is the bytes on standard input
    #[arg(value_name = "FILE", required_unless_present_any = ["files_from", "files0_from"])]
    pub files: Vec<PathBuf>,

    #[command(flatten)]
    pub common: Common,
}

impl Args {
    /// The evidence that was given.
    pub fn evidence(&self) -> Result<Evidence, Stop> {
        let evidence = Evidence::given(Given {
            sums: self.sums.clone(),
            sha256: self.sha256,
            minisign: self.minisign.clone(),
            ssh: self.ssh.clone().map(|allowed| SshSigners { allowed, namespace: self.ssh_namespace.clone() }),
            gpg: self.gpg.clone(),
            sigstore: self.sigstore.trusted()?,
            signers: self.signer.clone(),
            signature: self.sig.clone(),
        })?;
        Ok(evidence)
    }

    /// What is to be run.
    pub fn runs(&self) -> Option<Runs> {
        (!self.run.is_empty()).then(|| Runs {
            calls: self.run.clone(),
            user: self.run_as.clone(),
            walls: if self.run_unconfined { Walls::None } else { Walls::Namespaces },
            deadline: self.run_timeout.duration(),
            version: self.expect_version.clone(),
        })
    }
}

/// The options of Sigstore. A verify without it hides them and says so when one is given.
#[derive(clap::Args, Clone, Debug)]
pub struct SigstoreArgs {
    /// Who signed LIST, or each FILE without --sums, in a Sigstore bundle or a GitHub attestation (.sigstore.json beside it):
    /// gh:OWNER/REPO for a workflow of that repository, or the identity in the certificate, where * is anything but /
    #[arg(long, value_name = "SIGNER", hide = !SIGSTORE, help_heading = SIGSTORE_HEADING)]
    pub sigstore: Option<Identity>,
    /// Whose word counts for that identity, the OpenID Connect issuer [default: on github.com that of GitHub Actions]
    #[arg(long, value_name = "URL", hide = !SIGSTORE, help_heading = SIGSTORE_HEADING)]
    pub sigstore_issuer: Option<String>,
    /// Repository that the signer must have built from, gh:OWNER/REPO or its URI [default: on github.com SIGNER's own]
    #[arg(long, value_name = "URL", hide = !SIGSTORE, help_heading = SIGSTORE_HEADING)]
    pub sigstore_source: Option<String>,
    /// Trusted root of a Sigstore instance [default: those of the public one and of GitHub's, as they were when this verify was
    /// built]
    #[arg(long, value_name = "FILE", hide = !SIGSTORE, help_heading = SIGSTORE_HEADING)]
    pub sigstore_root: Option<PathBuf>,
}

impl SigstoreArgs {
    fn trusted(&self) -> Result<Option<Trusted>, Untrusted> {
        let more = [
            ("--sigstore-issuer", self.sigstore_issuer.is_some()),
            ("--sigstore-source", self.sigstore_source.is_some()),
            ("--sigstore-root", self.sigstore_root.is_some()),
        ];
        let more = more.into_iter().find_map(|(option, given)| given.then_some(option));
        match (&self.sigstore, more) {
            (Some(identity), _) => {
                let (issuer, root) = (self.sigstore_issuer.clone(), self.sigstore_root.clone());
                Trusted::new(identity.clone(), issuer, self.sigstore_source.as_deref(), root).map(Some)
            }
            (None, Some(_)) if !SIGSTORE => Err(Untrusted::NotBuilt),
            (None, Some(option)) => Err(Untrusted::NoIdentity(option)),
            (None, None) => Ok(None),
        }
    }
}

impl AsRef<Common> for Args {
    fn as_ref(&self) -> &Common {
        &self.common
    }
}
