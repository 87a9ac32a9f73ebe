//! The OpenAPI document of the page's API: what the page's types are generated from.

use crate::api::lab::{graph, places, task};
use crate::api::{ask, dictionary, generate, jobs, lab, runs, status, stories, unit};
use crate::error::{Failure, Reason};
use axum::Json;
use pellucid_scope as scope;
use utoipa::openapi::path::{
    HttpMethod, OperationBuilder, Parameter, ParameterBuilder, ParameterIn, PathItemBuilder,
};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder, PathsBuilder, Ref, RefOr,
    Required, ResponseBuilder, ResponsesBuilder, Schema,
};
use utoipa::{IntoParams, PartialSchema, ToSchema};

/// The document.
pub fn document() -> OpenApi {
    let mut list = Listing::default();
    list.get::<status::Status>("/api/status", "What is served, and how busy it is.");
    list.events::<generate::GenerateRequest>(
        "/api/generate",
        "An answer token by token: events `prompt` (PromptEvent), `token` (TokenEvent), then `done` (DoneEvent) or `failed` \
         (Failure).",
    );
    list.kept::<generate::PromptEvent>();
    list.kept::<generate::TokenEvent>();
    list.kept::<generate::DoneEvent>();
    list.post::<ask::ScoreRequest, ask::ScoreReply>("/api/score", "What was likely at each place of a text.");
    list.post::<ask::ExplainRequest, scope::ExplainReply>(
        "/api/explain",
        "Which units made the model say a token.",
    );
    list.post::<ask::AblateRequest, scope::AblateReply>("/api/ablate", "Units removed, beside random ones.");
    list.post::<ask::ActivationsRequest, scope::ActivationsReply>(
        "/api/activations",
        "Which neurons were active.",
    );
    list.post::<ask::CompareRequest, scope::CompareReply>(
        "/api/compare",
        "A text read plain and with edits.",
    );
    list.post::<ask::SteerRequest, ask::SteerReply>("/api/steer", "What is wanted, as edits.");
    list.post::<scope::Finding, Vec<scope::Found>>("/api/find", "Units by what they are about.");
    list.post::<ask::LensRequest, scope::LensGrid>("/api/lens", "What each layer would say.");
    laboratory(&mut list);
    list.get::<scope::UnitReply>("/api/unit", "All that is known of a unit.");
    list.post::<unit::TestRequest, unit::TestReply>("/api/unit/test", "A unit on a text.");
    list.post::<unit::DescribeRequest, unit::DescribeReply>(
        "/api/unit/describe",
        "A person's words for a unit.",
    );
    list.post::<unit::VoteRequest, unit::VoteReply>("/api/unit/vote", "A vote on a description.");
    dictionaries(&mut list);
    list.kept::<stories::Story>();
    list.get::<Vec<stories::Story>>("/api/stories", "Guided stories.");
    list.post::<stories::GateRequest, stories::GateReply>(
        "/api/stories/gate",
        "Whether this model shows a story's behaviour.",
    );
    list.post::<stories::GuideRequest, stories::GuideReply>(
        "/api/guide",
        "An answer of the guide's language model.",
    );
    list.post::<runs::RunRequest, runs::Kept>("/api/runs", "Keeps a run for a link.");
    list.get::<runs::RunFile>("/api/runs/{id}", "A kept run.");
    list.post::<runs::RunRequest, runs::Replayed>("/api/runs/replay", "Runs it again and compares.");
    list.get::<Vec<jobs::Job>>("/api/jobs", "Long work.");
    list.post::<jobs::AtlasRequest, jobs::Job>("/api/jobs/atlas", "Begins to build an atlas.");
    list.delete::<jobs::Job>("/api/jobs/{id}", "Stops a job.");
    list.stream("/api/jobs/{id}/events", "A job each time it moves: events `job` (Job).");
    list.build()
}

fn dictionaries(list: &mut Listing) {
    list.get::<scope::DictionaryReply>("/api/dictionary", "What is known of a dictionary as a whole.");
    list.get::<scope::LatentsReply>("/api/dictionary/latents", "A few numbers of each of its latents.");
    list.kept::<scope::Words>();
    list.post::<dictionary::LatentWordsRequest, dictionary::LatentWordsReply>(
        "/api/dictionary/words",
        "The words of some of its latents.",
    );
    list.post::<dictionary::LatentMapRequest, dictionary::LatentMapReply>(
        "/api/dictionary/map",
        "Where its latents lie on a plane, or the job that finds it out.",
    );
}

/// Methods are streams of events: `step` (LabStep), `gate` (BehaviourReport), then `done` or `failed` (Failure).
fn laboratory(list: &mut Listing) {
    list.kept::<scope::lab::BuiltIn>();
    list.get::<Vec<scope::lab::BuiltIn>>("/api/lab/behaviours", "Built-in behaviours.");
    list.kept::<scope::lab::Step>();
    list.kept::<scope::lab::BehaviourReport>();
    list.events::<lab::LabBehaviourRequest>(
        "/api/lab/behaviour",
        "How well the model shows a behaviour: events `step` (LabStep), `gate` (BehaviourReport), `done` (LabBehaviourReply).",
    );
    list.kept::<lab::LabBehaviourReply>();
    list.events::<lab::LabNeuronsRequest>(
        "/api/lab/neurons",
        "Which neurons it hangs on; `done` is LabNeuronsReply.",
    );
    list.kept::<lab::LabNeuronsReply>();
    list.events::<lab::LabDirectionRequest>(
        "/api/lab/direction",
        "The direction between its two classes of items; `done` is LabDirectionReply.",
    );
    list.kept::<lab::LabDirectionReply>();
    list.events::<lab::LabCircuitRequest>(
        "/api/lab/circuit",
        "Which edges carry it; `done` is LabCircuitReply.",
    );
    list.kept::<lab::LabCircuitReply>();
    list.events::<graph::LabGraphRequest>(
        "/api/lab/graph",
        "The attribution graph of a prompt's next word; `done` is LabGraphReply.",
    );
    list.kept::<graph::LabGraphReply>();
    list.post::<graph::LabZeroRequest, scope::lab::GraphZeroed>(
        "/api/lab/graph/zero",
        "The next token with some nodes zeroed.",
    );
    list.post::<lab::LabReadRequest, scope::lab::Reading>("/api/lab/read", "A text along a direction.");
    laboratory_of_places(list);
}

fn laboratory_of_places(list: &mut Listing) {
    list.events::<places::LabLensRequest>(
        "/api/lab/lens",
        "At which layers its answer wins; `done` is LabLensReply.",
    );
    list.kept::<places::LabLensReply>();
    list.events::<places::LabTraceRequest>(
        "/api/lab/trace",
        "Where its answer is decided; `done` is LabTraceReply.",
    );
    list.kept::<places::LabTraceReply>();
    list.events::<places::LabKnockoutRequest>(
        "/api/lab/knockout",
        "Which token must be seen; `done` is LabKnockoutReply.",
    );
    list.kept::<places::LabKnockoutReply>();
    list.events::<places::LabPatchscopeRequest>(
        "/api/lab/patchscope",
        "Its values put into a target at every pair of layers; `done` is LabPatchscopeReply.",
    );
    list.kept::<places::LabPatchscopeReply>();
    list.events::<places::LabLadderRequest>(
        "/api/lab/ladder",
        "One token of a text read at every layer: events `step`, `done` (LabLadderReply).",
    );
    list.kept::<places::LabLadderReply>();
    list.kept::<scope::lab::BuiltInTask>();
    list.get::<Vec<scope::lab::BuiltInTask>>("/api/lab/tasks", "Built-in tasks.");
    list.kept::<scope::lab::TaskGate>();
    list.events::<task::LabFunctionRequest>(
        "/api/lab/function",
        "A task's function vector: events `step`, `gate` (TaskGate), `done` (LabFunctionReply).",
    );
    list.kept::<task::LabFunctionReply>();
}

pub(crate) async fn show() -> Json<OpenApi> {
    Json(document())
}

/// Paths and the schemas that they name.
#[derive(Default)]
struct Listing {
    paths: Vec<(&'static str, HttpMethod, OperationBuilder)>,
    schemas: Vec<(String, RefOr<Schema>)>,
}

impl Listing {
    fn kept<T: ToSchema>(&mut self) -> RefOr<Schema> {
        T::schemas(&mut self.schemas);
        let schema = T::schema();
        // lists and plain values have no name of their own
        if T::name().starts_with("Vec") || matches!(schema, RefOr::T(Schema::Array(_))) {
            return schema;
        }
        self.schemas.push((T::name().into_owned(), schema));
        Ref::from_schema_name(T::name()).into()
    }

    fn add(&mut self, path: &'static str, method: HttpMethod, about: &str, operation: OperationBuilder) {
        let failure = self.kept::<Failure>();
        self.kept::<Reason>();
        let content = ContentBuilder::new().schema(Some(failure)).build();
        let failed = ResponseBuilder::new()
            .description("What was wrong with the request, or why it could not be met.")
            .content("application/json", content)
            .build();
        let mut operation = operation.summary(Some(about)).response("4XX", failed);
        if path.contains("{id}") {
            let id = ParameterBuilder::new()
                .name("id")
                .parameter_in(ParameterIn::Path)
                .required(Required::True)
                .schema(Some(String::schema()));
            operation = operation.parameter(id);
        }
        for parameter in asked_for(path) {
            operation = operation.parameter(parameter);
        }
        self.paths.push((path, method, operation));
    }

    fn answer(schema: RefOr<Schema>) -> ResponsesBuilder {
        let content = ContentBuilder::new().schema(Some(schema)).build();
        let ok = ResponseBuilder::new().description("The answer.").content("application/json", content);
        ResponsesBuilder::new().response("200", ok)
    }

    fn get<T: ToSchema>(&mut self, path: &'static str, about: &str) {
        let schema = self.kept::<T>();
        self.add(path, HttpMethod::Get, about, OperationBuilder::new().responses(Self::answer(schema)));
    }

    fn delete<T: ToSchema>(&mut self, path: &'static str, about: &str) {
        let schema = self.kept::<T>();
        self.add(path, HttpMethod::Delete, about, OperationBuilder::new().responses(Self::answer(schema)));
    }

    fn body<T: ToSchema>(&mut self) -> RequestBodyBuilder {
        let schema = self.kept::<T>();
        let content = ContentBuilder::new().schema(Some(schema)).build();
        RequestBodyBuilder::new().content("application/json", content).required(Some(Required::True))
    }

    fn post<T: ToSchema, R: ToSchema>(&mut self, path: &'static str, about: &str) {
        let body = self.body::<T>().build();
        let schema = self.kept::<R>();
        let operation = OperationBuilder::new().request_body(Some(body)).responses(Self::answer(schema));
        self.add(path, HttpMethod::Post, about, operation);
    }

    fn streamed() -> ResponsesBuilder {
        let content = ContentBuilder::new().schema(Some(String::schema())).build();
        let ok =
            ResponseBuilder::new().description("Server-sent events.").content("text/event-stream", content);
        ResponsesBuilder::new().response("200", ok)
    }

    fn events<T: ToSchema>(&mut self, path: &'static str, about: &str) {
        let body = self.body::<T>().build();
        let operation = OperationBuilder::new().request_body(Some(body)).responses(Self::streamed());
        self.add(path, HttpMethod::Post, about, operation);
    }

    fn stream(&mut self, path: &'static str, about: &str) {
        self.add(path, HttpMethod::Get, about, OperationBuilder::new().responses(Self::streamed()));
    }

    fn build(mut self) -> OpenApi {
        for (name, schema) in &mut self.schemas {
            complete(name, schema);
        }
        let mut paths = PathsBuilder::new();
        for (path, method, operation) in self.paths {
            paths = paths.path(path, PathItemBuilder::new().operation(method, operation).build());
        }
        let components = ComponentsBuilder::new().schemas_from_iter(self.schemas).build();
        let info = InfoBuilder::new().title("Pellucid").version(env!("CARGO_PKG_VERSION")).build();
        OpenApiBuilder::new().info(info).paths(paths.build()).components(Some(components)).build()
    }
}

/// The query parameters of a path.
fn asked_for(path: &str) -> Vec<Parameter> {
    let place = || Some(ParameterIn::Query);
    match path {
        "/api/unit" => unit::UnitQuery::into_params(place),
        "/api/dictionary" | "/api/dictionary/latents" => dictionary::DictionaryQuery::into_params(place),
        _ => Vec::new(),
    }
}

/// What a request may leave out, by the schemas that requests are made of.
const ASKED: [&str; 11] = [
    "Change",
    "Edit",
    "Explaining",
    "Finding",
    "Message",
    "Op",
    "RunFile",
    "Sampling",
    "Steering",
    "TextSpec",
    "What",
];

/// What an answer leaves out instead of saying null: schema and field.
const LEFT_OUT: [(&str, &str); 8] = [
    ("BehaviourItem", "counterfactual"),
    ("BehaviourItem", "class"),
    ("BehaviourItem", "group"),
    ("BehaviourItem", "chat"),
    ("Placed", "role"),
    ("Story", "messages"),
    ("Story", "prompt"),
    ("StoryStep", "action"),
];

/// An answer holds all of its fields, null or not, though the types behind them are optional.
fn complete(name: &str, schema: &mut RefOr<Schema>) {
    if ASKED.contains(&name) || name.ends_with("Request") {
        return;
    }
    match schema {
        RefOr::T(Schema::Object(object)) => {
            let fields = object.properties.keys();
            object.required =
                fields.filter(|key| !LEFT_OUT.contains(&(name, key.as_str()))).cloned().collect();
        }
        RefOr::T(Schema::AllOf(all)) => all.items.iter_mut().for_each(|part| complete(name, part)),
        _ => {}
    }
}
