//! The client of `grpc.reflection.v1`: a service's descriptors, file by file. Servers that know only
//! `v1alpha`, which differs by its name alone, are asked by that name.
//!
//! Files are kept as the bytes they came in, because decoding and encoding them again would lose
//! the options that extensions carry, and with them the routes and policies.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use futures::channel::mpsc;
use futures::{SinkExt as _, StreamExt as _};
use http::{Request, Uri};
use mainstay::kernel::channel::MeshChannel;
use prost::Message as _;
use prost_types::FileDescriptorProto;
use tonic::body::Body;
use tonic::client::GrpcService;
use tonic::{Code, Status, Streaming};
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

use tower::ServiceExt as _;

use super::contract::Contract;

/// The most files and bytes that one service's contract may have.
const MOST_FILES: usize = 1000;
const MOST_BYTES: usize = 32 * 1024 * 1024;

/// Packages whose services are part of every gRPC server and no part of its contract.
const INFRASTRUCTURE: [&str; 4] =
    ["grpc.reflection.", "grpc.health.", "grpc.channelz.", "grpc.lb."];

/// The path by the service's older name.
const OLDER: &str = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";

/// The channels to the services.
pub(crate) type Channels = Arc<dyn Fn(&str) -> MeshChannel + Send + Sync>;

/// Fetches the contract of a service.
pub(crate) async fn fetch(
    channels: &Channels,
    service: &str,
    hash: &str,
) -> anyhow::Result<Contract> {
    let (mut reflection, grpc_services) = Reflection::of(channels(service)).await?;
    let mut files = Files::default();
    for name in &grpc_services {
        files.add(reflection.ask(MessageRequest::FileContainingSymbol(name.clone())).await?)?;
    }
    while let Some(missing) = files.missing.pop_front() {
        if !files.known.contains_key(&missing) {
            files.add(reflection.ask(MessageRequest::FileByFilename(missing)).await?)?;
        }
    }
    Ok(Contract {
        service: service.to_owned(),
        hash: hash.to_owned(),
        grpc_services,
        descriptors: files.into_set()?,
    })
}

/// One reflection stream: a question, an answer, and so on. All of it is one instance's.
struct Reflection {
    questions: mpsc::Sender<ServerReflectionRequest>,
    answers: Streaming<ServerReflectionResponse>,
}

impl Reflection {
    /// A stream by the name that the server knows, and what it answered to the first question.
    async fn of(channel: MeshChannel) -> anyhow::Result<(Self, Vec<String>)> {
        match Self::open(channel.clone()).await {
            Err(fault) if is_unknown(&fault) => {
                Self::open(channel.map_request(|mut request: Request<Body>| {
                    *request.uri_mut() = Uri::from_static(OLDER);
                    request
                }))
                .await
            }
            opened => opened,
        }
    }

    async fn open<C>(channel: C) -> anyhow::Result<(Self, Vec<String>)>
    where
        C: GrpcService<Body, Error = Infallible>,
        C::ResponseBody: http_body::Body<Data = Bytes, Error = Status> + Send + 'static,
    {
        let (mut questions, requests) = mpsc::channel(1);
        // A server may hold its headers back until it has something to answer.
        questions.send(question(MessageRequest::ListServices(String::new()))).await?;
        let mut client = ServerReflectionClient::new(channel).max_decoding_message_size(MOST_BYTES);
        let answers = client.server_reflection_info(requests).await?.into_inner();
        let mut opened = Self { questions, answers };
        let services = opened.services().await?;
        Ok((opened, services))
    }

    /// The answer to the question that opened the stream.
    async fn services(&mut self) -> anyhow::Result<Vec<String>> {
        let MessageResponse::ListServicesResponse(list) = self.answer().await? else {
            bail!("the list of services was answered by something else");
        };
        let names = list.service.into_iter().map(|service| service.name);
        let is_own =
            |name: &String| !INFRASTRUCTURE.iter().any(|package| name.starts_with(package));
        Ok(names.filter(is_own).collect())
    }

    async fn ask(&mut self, request: MessageRequest) -> anyhow::Result<Vec<Vec<u8>>> {
        self.questions.send(question(request)).await.context("the stream was closed")?;
        match self.answer().await? {
            MessageResponse::FileDescriptorResponse(files) => Ok(files.file_descriptor_proto),
            MessageResponse::ErrorResponse(error) => bail!("{}", error.error_message),
            _ => bail!("a file was answered by something else"),
        }
    }

    async fn answer(&mut self) -> anyhow::Result<MessageResponse> {
        let answer = self.answers.next().await.context("the stream ended")??;
        answer.message_response.context("an answer was empty")
    }
}

/// Whether the server does not know what it was asked.
fn is_unknown(fault: &anyhow::Error) -> bool {
    fault.downcast_ref::<Status>().is_some_and(|status| status.code() == Code::Unimplemented)
}

fn question(request: MessageRequest) -> ServerReflectionRequest {
    ServerReflectionRequest { host: String::new(), message_request: Some(request) }
}

/// Files as they came, and the names of those they import.
#[derive(Default)]
struct Files {
    known: BTreeMap<String, (Vec<u8>, Vec<String>)>,
    missing: VecDeque<String>,
    bytes: usize,
}

impl Files {
    fn add(&mut self, files: Vec<Vec<u8>>) -> anyhow::Result<()> {
        for bytes in files {
            let file = FileDescriptorProto::decode(bytes.as_slice())?;
            self.bytes += bytes.len();
            self.missing.extend(file.dependency.iter().cloned());
            self.known.insert(file.name().to_owned(), (bytes, file.dependency));
            ensure!(self.known.len() <= MOST_FILES, "it has more than {MOST_FILES} files");
            ensure!(self.bytes <= MOST_BYTES, "it has more than {MOST_BYTES} bytes");
        }
        Ok(())
    }

    /// A file descriptor set with every file behind those that it imports.
    fn into_set(mut self) -> anyhow::Result<Vec<u8>> {
        let (mut set, mut placed) = (Vec::new(), BTreeSet::new());
        while !self.known.is_empty() {
            let ready = self.known.iter().find_map(|(name, (_, imports))| {
                imports.iter().all(|import| placed.contains(import)).then(|| name.clone())
            });
            let name = ready.context("its files import each other in a circle")?;
            if let Some((bytes, _)) = self.known.remove(&name) {
                prost::encoding::bytes::encode(1, &bytes, &mut set);
            }
            placed.insert(name);
        }
        Ok(set)
    }
}
