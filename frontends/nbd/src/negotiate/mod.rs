//! The handshake (spec, "Handshake", "TLS support", "Option types"): from the greeting to an export,
//! to TLS, or to an end.
//!
//! [`Negotiation`] holds what the client has chosen so far. Bytes are read exactly as far as an option
//! goes, never ahead: what a client sends behind `NBD_OPT_STARTTLS` without waiting reaches the TLS
//! layer as rubbish and cannot be taken for an option that came in under TLS. Starting TLS forgets
//! everything chosen before.
//!
//! The TLS mode of a connection is fixed when it begins: none, offered (SELECTIVETLS without TLS-only
//! exports), or forced.

mod contexts;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use gw_types::Authenticated;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;

use crate::access::{AskedName, Credentials, NotAuthenticated, Principals, Token};
use crate::config::Limits;
use crate::export::{Context, Export, Properties};
use crate::exports::{Exports, Refusal};
use crate::wire::constants::{client_flag, info, option, option_reply as code, transmission_flag as flag};
use crate::wire::option::{self as ask, InfoAsk, Malformed, MetaAsk, OPTION_HEADER_BYTES, OptionHeader};
use crate::wire::option_reply as reply;
use crate::wire::reply::ReplyForm;

/// Data of an option up to here is read and thrown away when it is too long; beyond, the client is cut off.
const DISCARD_BYTES_MAX: u32 = 1 << 20;
/// How long a handshake goes on after the server was told to end, to be answered `NBD_REP_ERR_SHUTDOWN`.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(1);

/// Whether a connection uses TLS (spec, "Server-side requirements").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsMode {
    /// NOTLS: there are no certificates.
    Absent,
    /// SELECTIVETLS, with no export that needs it.
    Offered,
    /// FORCEDTLS.
    Forced,
}

/// What a handshake needs of its server.
#[derive(Clone, Copy)]
pub struct Host<'a> {
    /// Which exports there are.
    pub exports: &'a dyn Exports,
    /// Who is who.
    pub principals: &'a Principals,
    /// How long and how much.
    pub limits: &'a Limits,
}

/// What the client chose.
pub struct Chosen {
    /// The export's own name.
    pub name: String,
    /// The device.
    pub export: Arc<dyn Export>,
    /// The transmission flags it was told.
    pub flags: u16,
    /// How replies are written.
    pub form: ReplyForm,
    /// The contexts it selected, with their ids.
    pub contexts: Vec<(u32, Context)>,
}

/// How a part of the handshake ended.
pub enum End {
    /// On to the transmission phase.
    Transmission(Box<Chosen>),
    /// The client has been told to begin TLS now.
    StartTls,
    /// The client is done, by `NBD_OPT_ABORT` or by leaving between two options.
    Left,
}

/// Why the server hangs up.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The socket failed, or the client left in the middle of something.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    /// The client broke a rule after which it cannot be answered.
    #[error("the client broke the protocol: {0}")]
    Protocol(String),
    /// `NBD_OPT_EXPORT_NAME` cannot be refused in any other way.
    #[error("the export cannot be had: {0}")]
    Refused(String),
}

/// A handshake under way.
pub struct Negotiation {
    credentials: Credentials,
    mode: TlsMode,
    under_tls: bool,
    fixed_newstyle: bool,
    zeroes: bool,
    form: ReplyForm,
    /// The contexts of the last `NBD_OPT_SET_META_CONTEXT` and the export they are of.
    selected: Option<(String, Vec<(u32, Context)>)>,
    options_left: usize,
    out: BytesMut,
}

/// What follows an option that was answered.
enum Next {
    Option,
    End(End),
}

/// An error reply: its type, and a sentence.
type Refused = (u32, String);

impl Negotiation {
    /// The beginning.
    pub fn new(credentials: Credentials, mode: TlsMode, limits: &Limits) -> Self {
        Self {
            credentials,
            mode,
            under_tls: false,
            fixed_newstyle: false,
            zeroes: true,
            form: ReplyForm::Simple,
            selected: None,
            options_left: limits.options_max,
            out: BytesMut::new(),
        }
    }

    /// Greets the client and reads its flags.
    ///
    /// # Errors
    /// When the client sets a flag that nobody knows (spec, "Client flags"), or is gone.
    pub async fn greet<S>(&mut self, stream: &mut S) -> Result<(), Broken>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        reply::greeting(&mut self.out);
        self.send(stream).await?;
        let flags = stream.read_u32().await?;
        if flags & !(client_flag::FIXED_NEWSTYLE | client_flag::NO_ZEROES) != 0 {
            return Err(Broken::Protocol(format!("unknown client flags {flags:#x}")));
        }
        self.fixed_newstyle = flags & client_flag::FIXED_NEWSTYLE != 0;
        self.zeroes = flags & client_flag::NO_ZEROES == 0;
        Ok(())
    }

    /// TLS is up: nothing of what was chosen before counts (spec, `NBD_OPT_STARTTLS`).
    pub fn secured(&mut self, certificate: Option<crate::ClientCertificate>) {
        self.under_tls = true;
        self.credentials.certificate = certificate;
        self.form = ReplyForm::Simple;
        self.selected = None;
    }

    /// Answers options until something other than an option follows.
    ///
    /// # Errors
    /// When the client has to be cut off.
    pub async fn haggle<S>(
        &mut self,
        stream: &mut S,
        host: Host<'_>,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<End, Broken>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        loop {
            let header = tokio::select! {
                header = read_header(stream) => header?,
                () = stopped_for_long(stop) => None,
            };
            let Some(header) = header else { return Ok(End::Left) };
            let stopping = *stop.borrow();
            let next = self.option(stream, header, host, stopping).await;
            // What was said before an error is still said.
            self.send(stream).await?;
            if let Next::End(end) = next? {
                return Ok(end);
            }
        }
    }

    async fn option<S>(
        &mut self,
        stream: &mut S,
        header: OptionHeader,
        host: Host<'_>,
        stopping: bool,
    ) -> Result<Next, Broken>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let option = header.option;
        self.options_left = self
            .options_left
            .checked_sub(1)
            .ok_or_else(|| Broken::Protocol("too many options".to_owned()))?;
        if header.data_len > host.limits.option_bytes_max {
            if option == option::EXPORT_NAME || header.data_len > DISCARD_BYTES_MAX {
                return Err(Broken::Protocol(format!("an option with {} bytes", header.data_len)));
            }
            let mut data = stream.take(header.data_len.into());
            tokio::io::copy(&mut data, &mut tokio::io::sink()).await?;
            self.refuse(option, (code::ERR_TOO_BIG, "the option is too long".to_owned()));
            return Ok(Next::Option);
        }
        let mut data = vec![0; usize::try_from(header.data_len).map_err(io::Error::other)?];
        stream.read_exact(&mut data).await?;
        let answered = match self.gate(option, stopping) {
            Ok(()) => self.answer(option, &data, host).await?,
            Err(refused) => {
                if option == option::EXPORT_NAME {
                    return Err(Broken::Refused(refused.1));
                }
                Err(refused)
            }
        };
        Ok(answered.unwrap_or_else(|refused| {
            self.refuse(option, refused);
            Next::Option
        }))
    }

    /// What is refused whatever it says.
    fn gate(&self, option: u32, stopping: bool) -> Result<(), Refused> {
        let harmless = option == option::ABORT;
        if stopping && !harmless {
            return Err((code::ERR_SHUTDOWN, "the server is ending".to_owned()));
        }
        if self.mode == TlsMode::Forced && !self.under_tls && !harmless && option != option::STARTTLS {
            // To a client of the old style there is no TLS, and nothing may speak of it (spec,
            // "Server-side requirements").
            let kind = if self.fixed_newstyle { code::ERR_TLS_REQD } else { code::ERR_POLICY };
            return Err((kind, "TLS is required here".to_owned()));
        }
        Ok(())
    }

    async fn answer(
        &mut self,
        option: u32,
        data: &[u8],
        host: Host<'_>,
    ) -> Result<Result<Next, Refused>, Broken> {
        Ok(match option {
            option::EXPORT_NAME => return self.export_name(data, host).await.map(Ok),
            option::ABORT => {
                reply::ack(&mut self.out, option);
                Ok(Next::End(End::Left))
            }
            option::LIST => self.list(data, host).await,
            option::STARTTLS => self.start_tls(data),
            option::INFO => self.info(data, host).await,
            option::GO => self.go(data, host).await,
            option::STRUCTURED_REPLY => self.structured_reply(data),
            option::EXTENDED_HEADERS => self.extended_headers(data),
            option::LIST_META_CONTEXT => self.list_contexts(data, host).await,
            option::SET_META_CONTEXT => self.set_contexts(data, host).await,
            _ => Err((code::ERR_UNSUP, format!("there is no option {option}"))),
        })
    }

    /// `NBD_OPT_EXPORT_NAME`: there is no way to refuse but to hang up.
    async fn export_name(&mut self, data: &[u8], host: Host<'_>) -> Result<Next, Broken> {
        if self.form == ReplyForm::Extended {
            return Err(Broken::Protocol("NBD_OPT_EXPORT_NAME after extended headers".to_owned()));
        }
        let asked = ask::name(data).map_err(|error| Broken::Protocol(error.to_string()))?;
        let chosen = self.attach(&asked, host).await.map_err(|(_, message)| Broken::Refused(message))?;
        let size_bytes = chosen.export.properties().size_bytes;
        reply::export_name(&mut self.out, size_bytes, chosen.flags, self.zeroes);
        Ok(Next::End(End::Transmission(Box::new(chosen))))
    }

    async fn list(&mut self, data: &[u8], host: Host<'_>) -> Result<Next, Refused> {
        ask::nothing(data).map_err(malformed)?;
        let who = self.authenticate(None, host)?;
        for listed in host.exports.list(&who).await {
            reply::server(&mut self.out, option::LIST, &listed.name, &listed.description);
        }
        reply::ack(&mut self.out, option::LIST);
        Ok(Next::Option)
    }

    fn start_tls(&mut self, data: &[u8]) -> Result<Next, Refused> {
        ask::nothing(data).map_err(malformed)?;
        if self.under_tls {
            return Err((code::ERR_INVALID, "TLS is up already".to_owned()));
        }
        if self.mode == TlsMode::Absent || !self.fixed_newstyle {
            return Err((code::ERR_UNSUP, "this server has no TLS".to_owned()));
        }
        reply::ack(&mut self.out, option::STARTTLS);
        Ok(Next::End(End::StartTls))
    }

    fn structured_reply(&mut self, data: &[u8]) -> Result<Next, Refused> {
        ask::nothing(data).map_err(malformed)?;
        if self.form == ReplyForm::Extended {
            return Err((code::ERR_EXT_HEADER_REQD, "extended headers are in use already".to_owned()));
        }
        self.form = ReplyForm::Structured;
        reply::ack(&mut self.out, option::STRUCTURED_REPLY);
        Ok(Next::Option)
    }

    fn extended_headers(&mut self, data: &[u8]) -> Result<Next, Refused> {
        ask::nothing(data).map_err(malformed)?;
        self.form = ReplyForm::Extended;
        reply::ack(&mut self.out, option::EXTENDED_HEADERS);
        Ok(Next::Option)
    }

    async fn info(&mut self, data: &[u8], host: Host<'_>) -> Result<Next, Refused> {
        let asked = InfoAsk::parse(data).map_err(malformed)?;
        let (who, name) = self.named(&asked.name, host)?;
        let described = host.exports.describe(&who, &name).await.map_err(refusal)?;
        let flags = self.flags(&described.properties, self.contexts_of(&described.name));
        self.describe(option::INFO, &asked.wants, &described.name, &described.properties, flags);
        Ok(Next::Option)
    }

    async fn go(&mut self, data: &[u8], host: Host<'_>) -> Result<Next, Refused> {
        let asked = InfoAsk::parse(data).map_err(malformed)?;
        let chosen = self.attach(&asked.name, host).await?;
        let export = Arc::clone(&chosen.export);
        self.describe(option::GO, &asked.wants, &chosen.name, export.properties(), chosen.flags);
        Ok(Next::End(End::Transmission(Box::new(chosen))))
    }

    /// The information replies that were asked for, `NBD_INFO_EXPORT` in any case, and the end of them.
    fn describe(&mut self, option: u32, wants: &[u16], name: &str, properties: &Properties, flags: u16) {
        reply::info_export(&mut self.out, option, properties.size_bytes, flags);
        if wants.contains(&info::NAME) {
            reply::info_text(&mut self.out, option, info::NAME, name);
        }
        if wants.contains(&info::DESCRIPTION) {
            reply::info_text(&mut self.out, option, info::DESCRIPTION, &properties.description);
        }
        if wants.contains(&info::BLOCK_SIZE) {
            let blocks = properties.blocks;
            let sizes = [blocks.minimum(), blocks.preferred(), blocks.payload_max()];
            reply::info_block_size(&mut self.out, option, sizes);
        }
        reply::ack(&mut self.out, option);
    }

    async fn list_contexts(&mut self, data: &[u8], host: Host<'_>) -> Result<Next, Refused> {
        let asked = MetaAsk::parse(data).map_err(malformed)?;
        let (who, name) = self.named(&asked.name, host)?;
        let described = host.exports.describe(&who, &name).await.map_err(refusal)?;
        let found = contexts::listed(&described.properties.contexts, &asked.queries).map_err(semantic)?;
        for context in found {
            // The id is reserved here (spec, `NBD_OPT_LIST_META_CONTEXT`).
            reply::meta_context(&mut self.out, option::LIST_META_CONTEXT, 0, &context.name());
        }
        reply::ack(&mut self.out, option::LIST_META_CONTEXT);
        Ok(Next::Option)
    }

    async fn set_contexts(&mut self, data: &[u8], host: Host<'_>) -> Result<Next, Refused> {
        // Also when it fails (spec, `NBD_OPT_SET_META_CONTEXT`).
        self.selected = None;
        if self.form == ReplyForm::Simple {
            let message = "contexts need structured replies or extended headers first".to_owned();
            return Err((code::ERR_INVALID, message));
        }
        let asked = MetaAsk::parse(data).map_err(malformed)?;
        let (who, name) = self.named(&asked.name, host)?;
        let described = host.exports.describe(&who, &name).await.map_err(refusal)?;
        let selected =
            contexts::selected(&described.properties.contexts, &asked.queries).map_err(semantic)?;
        for (id, context) in &selected {
            reply::meta_context(&mut self.out, option::SET_META_CONTEXT, *id, &context.name());
        }
        reply::ack(&mut self.out, option::SET_META_CONTEXT);
        self.selected = Some((described.name, selected));
        Ok(Next::Option)
    }

    async fn attach(&self, asked: &str, host: Host<'_>) -> Result<Chosen, Refused> {
        let (who, name) = self.named(asked, host)?;
        let attached = host.exports.attach(&who, &name).await.map_err(refusal)?;
        let contexts = self.contexts_of(&attached.name).to_vec();
        let flags = self.flags(attached.export.properties(), &contexts);
        Ok(Chosen { name: attached.name, export: attached.export, flags, form: self.form, contexts })
    }

    fn named(&self, asked: &str, host: Host<'_>) -> Result<(Authenticated, String), Refused> {
        let asked = AskedName::parse(asked);
        let who = self.authenticate(asked.token.as_ref(), host)?;
        Ok((who, asked.name))
    }

    fn authenticate(&self, token: Option<&Token>, host: Host<'_>) -> Result<Authenticated, Refused> {
        let refused = |error: NotAuthenticated| (code::ERR_POLICY, error.to_string());
        host.principals.authenticate(&self.credentials, token).map_err(refused)
    }

    fn contexts_of(&self, name: &str) -> &[(u32, Context)] {
        match &self.selected {
            Some((export, contexts)) if export == name => contexts,
            _ => &[],
        }
    }

    fn flags(&self, properties: &Properties, contexts: &[(u32, Context)]) -> u16 {
        transmission_flags(properties, self.form, !contexts.is_empty())
    }

    fn refuse(&mut self, option: u32, (kind, message): Refused) {
        reply::error(&mut self.out, option, kind, &message);
    }

    async fn send<S: AsyncWrite + Unpin>(&mut self, stream: &mut S) -> io::Result<()> {
        stream.write_all(&self.out).await?;
        self.out.clear();
        stream.flush().await
    }
}

/// The flags of an export (spec, "Transmission flags"). Flags that speak of an extension are set only
/// for whom has negotiated it; a read-only export offers nothing that writes.
fn transmission_flags(properties: &Properties, form: ReplyForm, contexts_selected: bool) -> u16 {
    let features = properties.features;
    let writable = !properties.read_only;
    let flags = [
        (true, flag::HAS_FLAGS),
        (properties.read_only, flag::READ_ONLY),
        (features.flush, flag::SEND_FLUSH),
        (features.fua && writable, flag::SEND_FUA),
        (features.rotational, flag::ROTATIONAL),
        (features.trim && writable, flag::SEND_TRIM),
        (features.write_zeroes && writable, flag::SEND_WRITE_ZEROES),
        (features.fast_zero && features.write_zeroes && writable, flag::SEND_FAST_ZERO),
        (form != ReplyForm::Simple, flag::SEND_DF),
        (features.multi_conn, flag::CAN_MULTI_CONN),
        (features.cache, flag::SEND_CACHE),
        (form == ReplyForm::Extended && contexts_selected, flag::BLOCK_STATUS_PAYLOAD),
    ];
    flags.iter().filter(|(set, _)| *set).fold(0, |all, (_, flag)| all | flag)
}

/// The next option's header, or nothing when the client has left.
async fn read_header<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Option<OptionHeader>, Broken> {
    let mut bytes = [0; OPTION_HEADER_BYTES];
    if stream.read(&mut bytes[..1]).await? == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut bytes[1..]).await?;
    OptionHeader::parse(&bytes).map(Some).map_err(|error| Broken::Protocol(error.to_string()))
}

async fn stopped_for_long(stop: &mut watch::Receiver<bool>) {
    // A sender that is gone has stopped as well.
    let _ = stop.wait_for(|stop| *stop).await;
    tokio::time::sleep(SHUTDOWN_GRACE).await;
}

fn malformed(error: Malformed) -> Refused {
    (code::ERR_INVALID, error.to_string())
}

fn semantic(error: contexts::NoNamespace) -> Refused {
    (code::ERR_INVALID, error.to_string())
}

fn refusal(refusal: Refusal) -> Refused {
    let kind = match refusal {
        Refusal::Unknown | Refusal::Unavailable => code::ERR_UNKNOWN,
        Refusal::NotAllowed | Refusal::Busy => code::ERR_POLICY,
    };
    (kind, refusal.to_string())
}
