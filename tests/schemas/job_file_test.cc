#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "schemas/codec.h"
#include "schemas/error.h"

namespace quench {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

const std::filesystem::path kJobs = std::filesystem::path(QUENCH_SOURCE_DIR) / "tests/fixtures/jobs";

std::string error_of(const std::string& json) {
  try {
    parse_job(json, "job.json", "/base");
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::bad_input) << error.what();
    return error.what();
  }
  return "(accepted)";
}

// A job that needs nothing else, with `keys` added.
std::string job_with(const std::string& keys) {
  return "{\"model\": \"m\"" + (keys.empty() ? "" : ", " + keys) + "}";
}

TEST(JobFile, MinimalJobHasTheDocumentedDefaults) {
  const JobSpec job = read_job(kJobs / "minimal.json");
  JobSpec expected;
  expected.name = "tiny";
  expected.model = (kJobs / "tiny").string();
  expected.evaluate.emplace_back();
  EXPECT_EQ(job, expected);
}

TEST(JobFile, EntryWithoutKeysHasTheDocumentedDefaults) {
  const JobSpec job =
      parse_job(job_with(R"("quantize": [{}], "calibration": {"files": ["a"]})"), "job.json", "/base");
  EXPECT_THAT(job.quantize, ElementsAre(QuantizeSpec{}));
  EXPECT_EQ(job.calibration, CalibrationSpec{.files = {"/base/a"}});
}

TEST(JobFile, Int8HasFormsOfActivationsWithNamesOfTheirOwn) {
  const JobSpec job = parse_job(
      job_with(R"("quantize": [{"method": "int8"}, {"method": "int8", "activations": "dynamic"},
                               {"method": "int8", "activations": "static"}], "calibration": {"files": ["a"]})"),
      "job.json", "/base");
  std::vector<std::string> names;
  for (const QuantizeSpec& recipe : artifact_recipes(job)) names.push_back(recipe.name);
  EXPECT_THAT(names, ElementsAre("none", "int8", "int8-dynamic", "int8-static"));
  EXPECT_NO_THROW(parse_job(job_with(R"("quantize": [{"method": "int8", "activations": "dynamic"}])"), "job.json", "/base"));
}

TEST(JobFile, ProductsOfBf16AreSaidInNamesAndDescriptions) {
  const JobSpec job = parse_job(job_with(R"("quantize": [{}, {"arithmetic": "bf16"}], "calibration": {"files": ["a"]},
                                            "evaluate": [{"arithmetic": "bf16"}])"),
                                "job.json", "/base");
  std::vector<std::string> names;
  for (const QuantizeSpec& recipe : artifact_recipes(job)) names.push_back(recipe.name);
  EXPECT_THAT(names, ElementsAre("none", "gptq-4bit-g128-sym", "gptq-4bit-g128-sym-bf16"));
  EXPECT_THAT(described(job.evaluate[0]), HasSubstr("products of bf16"));
}

TEST(JobFile, EveryKeyIsRead) {
  const JobSpec job = read_job(kJobs / "full.json");
  EXPECT_EQ(job.name, "codellama-7b-bits");
  EXPECT_EQ(job.model, "/models/CodeLlama-7b-hf");
  EXPECT_TRUE(job.baseline);
  EXPECT_EQ(job.ranks, 8u);
  EXPECT_EQ(job.threads, 2u);
  EXPECT_THAT(job.quantize, ElementsAre(QuantizeSpec{.method = Method::int8, .bits = 8, .group_size = -1},
                                        QuantizeSpec{.method = Method::rtn,
                                                     .bits = 3,
                                                     .group_size = -1,
                                                     .symmetric = false,
                                                     .scale_rule = ScaleRule::search},
                                        QuantizeSpec{.bits = 4, .group_size = 128},
                                        QuantizeSpec{.name = "best/2",
                                                     .bits = 2,
                                                     .group_size = 32,
                                                     .symmetric = false,
                                                     .act_order = true,
                                                     .scale_rule = ScaleRule::search,
                                                     .damping = 0.05}));
  EXPECT_EQ(job.calibration,
            (CalibrationSpec{.files = {(kJobs / "calibration.txt").string(), "/data/more.txt"},
                             .sequences = 1024,
                             .length = 4096,
                             .seed = 18446744073709551615u}));
  EXPECT_THAT(job.evaluate, ElementsAre(EvaluateSpec{.samples = 20,
                                                     .temperature = 0.2,
                                                     .top_p = 0.95,
                                                     .top_k = 40,
                                                     .max_tokens = 1024,
                                                     .seed = 7,
                                                     .tasks = 10},
                                        EvaluateSpec{}));
}

TEST(JobFile, ANamedSetIsTakenWhole) {
  const auto calibration_of = [](const std::string& text) {
    return parse_job(R"({"model": "m", "quantize": [{"method": "gptq"}], "calibration": )" + text + "}", "job.json", "/base").calibration;
  };
  EXPECT_EQ(calibration_of(R"({"set": "sets/code"})"), (CalibrationSpec{.sequences = 0, .length = 0, .set = "sets/code"}));
  EXPECT_EQ(calibration_of(R"({"set": "sets/code", "sequences": 64, "length": 32})"),
            (CalibrationSpec{.sequences = 64, .length = 32, .set = "sets/code"}));
  EXPECT_EQ(calibration_of(R"({"kind": "mixed", "sequences": 64, "seed": 3})"),
            (CalibrationSpec{.sequences = 64, .length = 512, .seed = 3, .kind = CalibrationKind::mixed}));
}

TEST(JobFile, AnEndpointIsNoPath) {
  const JobSpec job = parse_job(R"({"model": "http://LocalHost:8000/v1/", "modelName": "org/coder", "concurrency": 3,
                                    "apiKeyVariable": "LAB_KEY", "requestSeconds": 5, "requestTries": 2,
                                    "evaluate": [{}]})",
                                "job.json", "/base");
  EXPECT_EQ(job.model, "http://localhost:8000/v1");
  EXPECT_EQ(job.model_name, "org/coder");
  EXPECT_EQ(job.name, "coder");
  EXPECT_EQ(job.api_key_variable, "LAB_KEY");
  EXPECT_EQ(job.concurrency, 3u);
  EXPECT_EQ(job.request_seconds, 5u);
  EXPECT_EQ(job.request_tries, 2u);
  EXPECT_EQ(parse_job(job_to_json(job), "job.json", "/elsewhere"), job);
  // How an endpoint is asked does not make another job of it.
  JobSpec patient = job;
  patient.concurrency = 30;
  patient.request_tries = 20;
  patient.api_key_variable = "OTHER_KEY";
  EXPECT_EQ(job_id(patient, {}), job_id(job, {}));
  patient.model_name = "org/other";
  EXPECT_NE(job_id(patient, {}), job_id(job, {}));
}

TEST(JobFile, WrittenJobIsReadBackEqual) {
  for (const char* file : {"minimal.json", "full.json"}) {
    const JobSpec job = read_job(kJobs / file);
    EXPECT_EQ(parse_job(job_to_json(job), file, "/elsewhere"), job);
  }
  for (const std::string text : {R"({"set": "sets/code"})", R"({"set": "sets/code", "sequences": 3, "seed": 4, "kind": "code"})",
                                 R"({"kind": "mixed"})"}) {
    const JobSpec job = parse_job(R"({"model": "/m", "quantize": [{"budgetGiB": 20}], "calibration": )" + text + "}", "job", "/base");
    EXPECT_EQ(parse_job(job_to_json(job), "job", "/elsewhere"), job) << text;
  }
}

TEST(JobFile, EveryMistakeIsListedInTheFilesOrder) {
  try {
    read_job(kJobs / "mistakes.json");
    FAIL() << "accepted";
  } catch (const Error& error) {
    const std::string text = error.what();
    EXPECT_THAT(text, HasSubstr("mistakes.json: 16 mistakes:"));
    std::size_t at = 0;
    for (const char* part : {
             "/model (line 1, column 1): missing; expected the path of a Hugging Face model directory",
             "/calibration/files (line 1, column 1): missing; gptq, awq and aqlm need text files to calibrate on",
             "/modle (line 2, column 3): unknown key; did you mean \"model\"?",
             "/baseline (line 3, column 15): found \"yes\"; expected true or false",
             "/quantize/0/method (line 5, column 16): unknown name \"gpqt\"; did you mean \"gptq\"? Known "
             "here: none, "
             "int8, rtn, gptq",
             "/quantize/1/bits (line 6, column 32): the method int8 has 8 bits",
             "/quantize/2/bits (line 7, column 31): found 5; expected 8, 4, 3 or 2",
             "/quantize/2/groupSize (line 7, column 47): found 0; expected -1 (a whole row) or 1 to 65536",
             "/quantize/2/group_size (line 7, column 50): unknown key; did you mean \"groupSize\"?",
             "/quantize/3/bits (line 8, column 32): found 4.5; expected an integer",
             "/evaluate/0/benchmark (line 10, column 30): unknown name \"human-eval\"; did you mean "
             "\"humaneval\"?",
             "/evaluate/0/samples (line 10, column 55): found 0; expected 1 to 10000",
             "/evaluate/0/topP (line 10, column 66): expected a number above 0 and up to 1",
             "/evaluate/0/temperature (line 10, column 84): expected a number from 0 (greedy) to 10",
             "/ranks (line 11, column 12): found -1; expected an integer from 0 to 4294967295",
             "/ranks (line 12, column 3): this key is given twice; first at line 11, column 3",
         }) {
      const std::size_t found = text.find(part, at);
      EXPECT_NE(found, std::string::npos) << "missing, or out of order: " << part << "\nin: " << text;
      if (found != std::string::npos) at = found;
    }
  }
}

struct BadJob {
  const char* name;
  std::string json;
  std::vector<std::string> parts;
  friend void PrintTo(const BadJob& job, std::ostream* out) { *out << job.name; }
};

class BadJobFile : public testing::TestWithParam<BadJob> {};

TEST_P(BadJobFile, IsRefusedWithPlaceAndRemedy) {
  const std::string text = error_of(GetParam().json);
  EXPECT_THAT(text, testing::StartsWith("job.json: "));
  for (const std::string& part : GetParam().parts) EXPECT_THAT(text, HasSubstr(part));
  EXPECT_THAT(text, Not(HasSubstr("mistakes:"))) << "one mistake, told once";
}

const std::vector<BadJob> kBadJobs = {
    {"Empty", "", {"line 1, column 1", "unexpected end of input"}},
    {"Truncated", "{\"model\":\n \"m", {"line 2", "missing closing quote"}},
    {"TrailingText", "{} {}", {"line 1, column 4", "unexpected '{'"}},
    {"NotANumber", job_with("\"ranks\": NaN"), {"line 1", "invalid literal"}},
    {"OverflowingNumber", job_with("\"ranks\": 1e999"), {"line 1", "number overflow"}},
    {"BadUtf8", job_with("\"name\": \"\xff\""), {"line 1", "ill-formed UTF-8"}},
    {"TooDeep", std::string(100'000, '['), {"nested deeper than 64 levels"}},
    {"List", "[]", {"(line 1, column 1): found a list; expected an object"}},
    {"DuplicateKey",
     "{\"model\": \"m\",\n\"model\": \"n\"}",
     {"/model (line 2, column 1): this key is given twice", "first at line 1, column 2"}},
    {"DuplicateNestedKey",
     job_with(R"("evaluate": [{}, {"seed": 1, "seed": 2}])"),
     {"/evaluate/1/seed", "given twice"}},
    {"UnknownKey",
     job_with("\"colour\": 1"),
     {"/colour (line 1, column 16): unknown key; known here: name, model"}},
    {"SlashInKey", job_with("\"a/b~c\": 1"), {"/a~1b~0c (line 1"}},
    {"ZeroInKey", job_with("\"ranks\\u0000\": 1"), {"unknown key"}},
    {"CalibrationKey",
     job_with(R"("calibration": {"window": 4})"),
     {"/calibration/window", "unknown key", "files, sequences, length, seed, kind, set"}},
    {"CalibrationKind",
     job_with(R"("calibration": {"kind": "best"})"),
     {"/calibration/kind", "unknown name", "files, random, code, mixed"}},
    {"CalibrationKindWithFiles",
     job_with(R"("calibration": {"kind": "code", "files": ["a.txt"]})"),
     {"/calibration/files", "takes the windows of a set in the store"}},
    {"CalibrationSetWithFiles",
     job_with(R"("calibration": {"set": "sets/code", "files": ["a.txt"]})"),
     {"/calibration/files", "a \"set\" takes the windows"}},
    {"CalibrationSetWithoutName",
     job_with(R"("calibration": {"set": ""})"),
     {"/calibration/set", "empty"}},
    {"UnknownMethod",
     job_with(R"("quantize": [{"method": "quip"}])"),
     {"/quantize/0/method", "unknown name \"quip\"", "none, int8, rtn, gptq, aqlm, awq"}},
    {"AwqOfTwoBits",
     job_with(R"("quantize": [{"method": "awq", "bits": 2}], "calibration": {"files": ["a"]})"),
     {"/quantize/0/bits", "found 2; expected 8, 4 or 3 of awq"}},
    {"SymmetricAwq",
     job_with(R"("quantize": [{"method": "awq", "symmetric": true}], "calibration": {"files": ["a"]})"),
     {"/quantize/0/symmetric", "awq has asymmetric grids only"}},
    {"AwqWithScaleRule",
     job_with(R"("quantize": [{"method": "awq", "scaleRule": "search"}], "calibration": {"files": ["a"]})"),
     {"/quantize/0/scaleRule", "awq searches for clipped ranges anyway"}},
    {"AwqWithOrder",
     job_with(R"("quantize": [{"method": "awq", "actOrder": true}], "calibration": {"files": ["a"]})"),
     {"/quantize/0/actOrder", "only gptq has"}},
    {"AwqWithCodebooks",
     job_with(R"("quantize": [{"method": "awq", "codebooks": 1}], "calibration": {"files": ["a"]})"),
     {"/quantize/0/codebooks", "only aqlm has"}},
    {"AwqWithBudget",
     job_with(R"("quantize": [{"method": "awq", "budgetGiB": 20}], "calibration": {"files": ["a"]})"),
     {"/quantize/0/budgetGiB", "only gptq does"}},
    {"StaticActivationsWithoutText",
     job_with(R"("quantize": [{"method": "int8", "activations": "static"}])"),
     {"/calibration/files", "int8 with static activations"}},
    {"UnknownActivations",
     job_with(R"("quantize": [{"method": "int8", "activations": "fp8"}])"),
     {"/quantize/0/activations", "unknown name \"fp8\"", "none, dynamic, static"}},
    {"ActivationsOfGptq",
     job_with(R"("quantize": [{"method": "gptq", "activations": "dynamic"}], "calibration": {"files": ["a"]})"),
     {"/quantize/0/activations", "only int8 rounds them"}},
    {"UnknownArithmetic",
     job_with(R"("quantize": [{"arithmetic": "fp16"}], "calibration": {"files": ["a"]})"),
     {"/quantize/0/arithmetic", "unknown name \"fp16\"", "fp32, bf16"}},
    {"ArithmeticOfRtn",
     job_with(R"("quantize": [{"method": "rtn", "arithmetic": "bf16"}])"),
     {"/quantize/0/arithmetic", "only gptq and awq have another arithmetic"}},
    {"AwqWithoutText", job_with(R"("quantize": [{"method": "awq"}])"), {"/calibration/files", "awq and aqlm need text files"}},
    {"ScalarForObject",
     job_with("\"calibration\": 3"),
     {"/calibration (line 1, column 31): found 3; expected an object"}},
    {"ObjectForList", job_with("\"quantize\": {}"), {"/quantize", "found an object; expected a list"}},
    {"NumberForText", job_with("\"name\": 3"), {"/name", "found 3; expected a string"}},
    {"ZeroInText", job_with("\"name\": \"a\\u0000b\""), {"/name", "expected no zero character"}},
    {"TextForNumber",
     job_with("\"ranks\": \"4\""),
     {"/ranks", "found \"4\"; expected an integer from 0 to 4294967295"}},
    {"FractionForInteger", job_with("\"ranks\": 4.0"), {"/ranks", "found 4.0; expected an integer"}},
    {"Beyond32Bits",
     job_with("\"threads\": 4294967296"),
     {"/threads", "found 4294967296; expected an integer from 0 to 4294967295"}},
    {"Beyond64Bits",
     job_with(R"("calibration": {"seed": 18446744073709551616})"),
     {"/calibration/seed", "expected an integer"}},
    {"NegativeSeed", job_with(R"("evaluate": [{"seed": -1}])"), {"/evaluate/0/seed", "found -1"}},
    {"Null", job_with("\"ranks\": null"), {"/ranks", "found null", "leave the key out for its default"}},
    {"NumberForEnum",
     job_with(R"("quantize": [{"method": 3}])"),
     {"/quantize/0/method", "found 3; expected a name", "gptq"}},
    {"NoModel", "{}", {"/model (line 1, column 1): missing; expected the path"}},
    {"EmptyModel", R"({"model": ""})", {"/model", "empty; expected the path"}},
    {"NoArtifact",
     job_with("\"baseline\": false"),
     {"/quantize", "makes no artifact", "\"baseline\" to true"}},
    {"NoRanks", job_with("\"ranks\": 0"), {"/ranks", "found 0; expected 1 to 4096"}},
    {"TooManyRanks", job_with("\"ranks\": 4097"), {"/ranks", "found 4097; expected 1 to 4096"}},
    {"EmptyName", job_with("\"name\": \"\""), {"/name", "may not be empty"}},
    {"NameWithSpace", job_with("\"name\": \"a b\""), {"/name", "letters A-Z"}},
    {"NameWithDots", job_with("\"name\": \"a/../b\""), {"/name", "the part .."}},
    {"AbsoluteName", job_with("\"name\": \"/a\""), {"/name", "begin with /"}},
    {"NameWithEmptyPart", job_with("\"name\": \"a//b\""), {"/name", "empty parts"}},
    {"LongName", job_with("\"name\": \"" + std::string(129, 'a') + "\""), {"/name", "longer than 128"}},
    {"ImpossibleBits",
     job_with(R"("quantize": [{"method": "rtn", "bits": 7}])"),
     {"/quantize/0/bits", "found 7; expected 8, 4, 3 or 2"}},
    {"ImpossibleGroup",
     job_with(R"("quantize": [{"method": "rtn", "groupSize": -2}])"),
     {"/quantize/0/groupSize", "found -2"}},
    {"HugeGroup",
     job_with(R"("quantize": [{"method": "rtn", "groupSize": 65537}])"),
     {"/quantize/0/groupSize", "1 to 65536"}},
    {"Int8WithBits",
     job_with(R"("quantize": [{"method": "int8", "bits": 4}])"),
     {"/quantize/0/bits", "int8 has 8 bits"}},
    {"Int8WithGroups",
     job_with(R"("quantize": [{"method": "int8", "groupSize": 128}])"),
     {"/quantize/0/groupSize", "int8 has no groups"}},
    {"RtnWithOrder",
     job_with(R"("quantize": [{"method": "rtn", "actOrder": true}])"),
     {"/quantize/0/actOrder", "only gptq has"}},
    {"RtnWithDamping",
     job_with(R"("quantize": [{"method": "rtn", "damping": 0.5}])"),
     {"/quantize/0/damping", "only gptq has"}},
    {"NoDamping",
     job_with(R"("quantize": [{"damping": 0}], "calibration": {"files": ["a"]})"),
     {"/quantize/0/damping", "above 0"}},
    {"NoBudget",
     job_with(R"("quantize": [{"method": "gptq", "budgetGiB": -1}], "calibration": {"files": ["a"]})"),
     {"/quantize/0/budgetGiB", "above 0"}},
    {"BudgetAndBits",
     job_with(R"("quantize": [{"method": "gptq", "budgetGiB": 20, "bits": 4}], "calibration": {"files": ["a"]})"),
     {"/quantize/0/bits", "chosen for each linear"}},
    {"BudgetAndGroups",
     job_with(R"("quantize": [{"method": "gptq", "budgetGiB": 20, "groupSize": 64}], "calibration": {"files": ["a"]})"),
     {"/quantize/0/groupSize", "chosen for each linear"}},
    {"RtnWithBudget",
     job_with(R"("quantize": [{"method": "rtn", "budgetGiB": 20}])"),
     {"/quantize/0/budgetGiB", "only gptq does"}},
    {"GptqWithoutText",
     job_with(R"("quantize": [{"method": "gptq"}])"),
     {"/calibration/files", "gptq, awq and aqlm need text files"}},
    {"EmptyCalibrationFile",
     job_with(R"("calibration": {"files": [""]})"),
     {"/calibration/files/0", "empty"}},
    {"NoSequences",
     job_with(R"("calibration": {"sequences": 0})"),
     {"/calibration/sequences", "expected 1 to 65536"}},
    {"NoLength",
     job_with(R"("calibration": {"length": 0})"),
     {"/calibration/length", "expected 1 to 131072"}},
    {"EqualDerivedNames",
     job_with(R"("quantize": [{"method": "int8"}, {"method": "int8"}])"),
     {"/quantize/1 ", "another artifact", "\"int8\"", "\"name\""}},
    {"EqualGivenNames",
     job_with(R"("quantize": [{"method": "int8"}, {"method": "rtn", "name": "int8"}])"),
     {"/quantize/1/name", "another artifact"}},
    {"CodebooksOfGptq", job_with(R"("quantize": [{"method": "rtn", "codebooks": 1}])"), {"/quantize/0/codebooks", "only aqlm has"}},
    {"BitsOfAqlm",
     job_with(R"("quantize": [{"method": "aqlm", "bits": 3}], "calibration": {"files": ["a"]})"),
     {"/quantize/0/bits", "codebooks * codebookBits / groupSize"}},
    {"ToleranceOfAqlm",
     job_with(R"("quantize": [{"method": "aqlm", "tolerance": 1}], "calibration": {"files": ["a"]})"),
     {"/quantize/0/tolerance", "between 0 and 1"}},
    {"NineCodebooks",
     job_with(R"("quantize": [{"method": "aqlm", "codebooks": 9}], "calibration": {"files": ["a"]})"),
     {"/quantize/0/codebooks", "1 to 8"}},
    {"AqlmWithoutText", job_with(R"("quantize": [{"method": "aqlm"}])"), {"/calibration/files", "aqlm need text files"}},
    {"SecondBaseline", job_with(R"("quantize": [{"method": "none"}])"), {"/quantize/0", "(the baseline)"}},
    {"Benchmark",
     job_with(R"("evaluate": [{"benchmark": "apps"}])"),
     {"/evaluate/0/benchmark", "unknown name \"apps\"", "humaneval"}},
    {"NearBenchmark",
     job_with(R"("evaluate": [{"benchmark": "multiple-humaneval"}])"),
     {"/evaluate/0/benchmark", "did you mean \"multipl-e-humaneval\"?"}},
    {"Language",
     job_with(R"("evaluate": [{"language": "rust"}])"),
     {"/evaluate/0/language", "unknown name \"rust\"", "python, java"}},
    {"LanguageOfAnotherBenchmark",
     job_with(R"("evaluate": [{"language": "java"}])"),
     {"/evaluate/0/language", "humaneval has no tasks in java, only in python",
      "with java there are multipl-e-humaneval, multipl-e-mbpp, mceval"}},
    {"UnknownPromptForm",
     job_with(R"("evaluate": [{"promptForm": "strip"}])"),
     {"/evaluate/0/promptForm", "unknown name \"strip\"", "stripped"}},
    {"ThreeShotElsewhere",
     job_with(R"("evaluate": [{"promptForm": "threeShot"}])"),
     {"/evaluate/0/promptForm", "only mbpp and mbpp-sanitized"}},
    {"ThreeShotChat",
     job_with(R"("evaluate": [{"benchmark": "mbpp", "promptForm": "threeShot", "chat": "auto"}])"),
     {"/evaluate/0/promptForm", "not a question"}},
    {"EvalPlusElsewhere",
     job_with(R"("evaluate": [{"benchmark": "mceval", "promptForm": "evalplus"}])"),
     {"/evaluate/0/promptForm", "only humaneval, humaneval+ and mbpp+"}},
    {"ChatCutAfterAFunction",
     job_with(R"("evaluate": [{"chat": "auto", "cut": "firstFunction"}])"),
     {"/evaluate/0/cut", "a chat answer is a whole program"}},
    {"LongTimeout",
     job_with(R"("evaluate": [{"timeoutSeconds": 3601}])"),
     {"/evaluate/0/timeoutSeconds", "found 3601; expected 0 to 3600"}},
    {"UnknownProtocol",
     job_with(R"("protocol": "giagnorio-2024")"),
     {"/protocol", "unknown name", "did you mean \"giagnorio-2025\"?"}},
    {"EmptyProtocol", job_with(R"("protocol": "")"), {"/protocol", "unknown name \"\""}},
    {"BenchmarkBesideTheProtocol",
     job_with(R"("protocol": "giagnorio-2025", "evaluate": [{"benchmark": "mbpp"}])"),
     {"/evaluate/0/benchmark", "does not use mbpp; it uses multipl-e-humaneval, mceval"}},
    {"ProtocolWithoutABenchmark",
     job_with(R"("protocol": "giagnorio-2025", "evaluate": [{"language": "python"}])"),
     {"/evaluate/0/benchmark", "does not use humaneval"}},
    {"SamplesAgainstTheProtocol",
     job_with(
         "\"protocol\": \"giagnorio-2025\",\n\"evaluate\": [{\"benchmark\": \"mceval\", \"samples\": 1}]"),
     {"/evaluate/0/samples (line 2", "found 1, but the protocol giagnorio-2025 (line 1) says 20"}},
    {"TokensAgainstTheProtocol",
     job_with(R"("protocol": "giagnorio-2025", "evaluate": [{"benchmark": "mceval", "maxTokens": 1024}])"),
     {"/evaluate/0/maxTokens", "found 1024, but the protocol", "says 1500"}},
    {"CutAgainstTheProtocol",
     job_with(R"("protocol": "giagnorio-2025", "evaluate": [{"benchmark": "mceval", "cut": "stopStrings"}])"),
     {"/evaluate/0/cut", "found \"stopStrings\", but the protocol", "says \"firstFunction\""}},
    {"TooManySamples",
     job_with(R"("evaluate": [{"samples": 10001}])"),
     {"/evaluate/0/samples", "1 to 10000"}},
    {"NegativeTemperature",
     job_with(R"("evaluate": [{"temperature": -0.1}])"),
     {"/evaluate/0/temperature", "from 0"}},
    {"TopPAboveOne", job_with(R"("evaluate": [{"topP": 1.01}])"), {"/evaluate/0/topP", "up to 1"}},
    {"NoTokens", job_with(R"("evaluate": [{"maxTokens": 0}])"), {"/evaluate/0/maxTokens", "found 0"}},
};

INSTANTIATE_TEST_SUITE_P(, BadJobFile, testing::ValuesIn(kBadJobs),
                         [](const auto& instance) { return instance.param.name; });

TEST(JobFile, TheProtocolSetsAllOfTheStudysChoices) {
  const JobSpec job =
      parse_job(job_with(R"("protocol": "giagnorio-2025", "calibration": {"length": 256})"), "job.json", "/");
  EXPECT_EQ(job.protocol, "giagnorio-2025");
  EXPECT_EQ(job.calibration.sequences, 1024u);
  EXPECT_EQ(job.calibration.length, 256u) << "calibration is the job's own where it says so";
  const auto expected = [](const char* benchmark, const char* language, std::uint32_t tokens) {
    return EvaluateSpec{.benchmark = benchmark,
                        .language = language,
                        .samples = 20,
                        .temperature = 0.2,
                        .top_p = 0.95,
                        .max_tokens = tokens,
                        .prompt_form = PromptStyle::stripped,
                        .cut = CompletionCut::first_function,
                        .token_budget = TokenBudget::including_prompt};
  };
  EXPECT_THAT(job.evaluate,
              ElementsAre(expected("multipl-e-humaneval", "python", 1024),
                          expected("multipl-e-humaneval", "java", 1024), expected("mceval", "python", 1500),
                          expected("mceval", "java", 1500)));
  EXPECT_EQ(parse_job(job_to_json(job), "again", "/"), job);
}

TEST(JobFile, WhatTheProtocolLeavesFreeIsKept) {
  const JobSpec job = parse_job(job_with(R"("protocol": "giagnorio-2025", "evaluate": [{"benchmark": "mceval",
      "language": "java", "samples": 20, "tasks": 3, "seed": 9, "timeoutSeconds": 15, "sandbox": "landlock"}])"),
                                "job.json", "/");
  ASSERT_EQ(job.evaluate.size(), 1u);
  EXPECT_EQ(
      described(job.evaluate[0]),
      "mceval java: the first 3 tasks, 20 samples, temperature 0.2, top-p 0.95, 1500 tokens including the "
      "prompt, prompt stripped, cut firstFunction, chat none, 15 s per program, seed 9, a Landlock sandbox "
      "allowed");
}

TEST(JobFile, EveryEvaluationSettingIsRead) {
  const JobSpec job = parse_job(job_with(R"("evaluate": [{"benchmark": "mbpp", "promptForm": "threeShot",
      "cut": "firstFunction", "tokenBudget": "includingPrompt", "timeoutSeconds": 7},
      {"benchmark": "mbpp+", "promptForm": "evalplus", "chat": "deepseekCoderInstruct"}])"),
                                "job.json", "/");
  EXPECT_THAT(job.evaluate, ElementsAre(EvaluateSpec{.benchmark = "mbpp",
                                                     .prompt_form = PromptStyle::three_shot,
                                                     .cut = CompletionCut::first_function,
                                                     .token_budget = TokenBudget::including_prompt,
                                                     .timeout_seconds = 7},
                                        EvaluateSpec{.benchmark = "mbpp+",
                                                     .prompt_form = PromptStyle::evalplus,
                                                     .chat = ChatTemplate::deepseek_coder_instruct}));
  EXPECT_EQ(parse_job(job_to_json(job), "again", "/"), job);
}

TEST(JobFile, AnUnknownMethodIsNotBlamedOnOtherKeys) {
  const std::string text =
      error_of(job_with(R"("quantize": [{"method": "quip", "bits": 5, "actOrder": true}])"));
  EXPECT_THAT(text, HasSubstr("/quantize/0/method"));
  EXPECT_THAT(text, Not(HasSubstr("calibration/files")));
}

TEST(JobFile, ManyMistakesAreCutShort) {
  std::string keys;
  for (int i = 0; i < 80; ++i) keys += (i == 0 ? "" : ", ") + ("\"wrong" + std::to_string(i) + "\": 1");
  const std::string text = error_of(job_with(keys));
  EXPECT_THAT(text, HasSubstr("80 mistakes:"));
  EXPECT_THAT(text, HasSubstr("and 30 more"));
}

TEST(JobFile, PathsAreTakenFromTheFilesDirectory) {
  const JobSpec job = parse_job(R"({"model": "../models/x/"})", "job.json", "/home/me/jobs");
  EXPECT_EQ(job.model, "/home/me/models/x");
  EXPECT_EQ(job.name, "x");
}

TEST(JobFile, NameIsDerivedFromAModelThatCannotBeARef) {
  EXPECT_EQ(parse_job(R"json({"model": "/m/Code Llama (7b)"})json", "job.json", "/").name, "Code-Llama--7b-");
  EXPECT_EQ(parse_job(R"({"model": "/"})", "job.json", "/").name, "job");
}

TEST(JobFile, MissingAndLargeFilesAreNamed) {
  const auto expect_error = [](const std::filesystem::path& file, const std::string& part) {
    try {
      read_job(file);
      FAIL() << "accepted " << file;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::bad_input);
      EXPECT_THAT(error.what(), HasSubstr(file.string()));
      EXPECT_THAT(error.what(), HasSubstr(part));
    }
  };
  expect_error(kJobs / "absent.json", "no such file");
  expect_error(kJobs, "not a regular file");
  const auto large = std::filesystem::path(testing::TempDir()) / "large.json";
  std::ofstream(large) << std::string((1 << 20) + 1, ' ');
  expect_error(large, "larger than 1048576 bytes");
  std::filesystem::remove(large);
}

}  // namespace
}  // namespace quench
