#include "coordinator/cli/artifact_keys.h"

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <fstream>
#include <iostream>

#include "coordinator/cli/artifacts.h"
#include "coordinator/repository/care.h"
#include "coordinator/trust/envelope.h"
#include "schemas/error.h"

namespace quench::coordinator {
namespace {

namespace fs = std::filesystem;

void parse(CLI::App& app, const std::vector<std::string>& words) {
  std::vector<std::string> reversed(words.rbegin(), words.rend() - 1);
  try {
    app.parse(reversed);
  } catch (const CLI::ParseError& error) {
    throw Error(ErrorCode::bad_input, app.get_name() + ": " + error.what());
  }
}

int make_key(const std::vector<std::string>& words) {
  CLI::App app{"make a key", "quench artifacts key"};
  std::string verb, out;
  app.add_option("verb", verb)->required()->check(CLI::IsMember({"new"}));
  app.add_option("--out", out, "file for the private key; the public one gets .pub behind it")->required();
  parse(app, words);
  const SigningKey key = SigningKey::generate();
  key.write(out);
  std::ofstream file(out + ".pub");
  file << key.public_key().pem() << std::flush;
  if (!file) throw Error(ErrorCode::failed, "cannot write " + out + ".pub");
  std::cout << key.public_key().id() << "  " << out << ".pub\n";
  return 0;
}

StoreReply ask(const fs::path& store, std::vector<std::string> words) {
  StoreReply reply = run_store_command(store, StoreCommand{std::move(words)});
  if (reply.exit_code != 0) std::cerr << "quench: " << reply.err << "\n";
  return reply;
}

int sign(const fs::path& store, const std::vector<std::string>& words) {
  CLI::App app{"sign an artifact", "quench artifacts sign"};
  std::string ref, key_file;
  app.add_option("ref", ref)->required();
  app.add_option("--key", key_file)->required();
  parse(app, words);
  const SigningKey key = SigningKey::read(key_file);
  const StoreReply statement = ask(store, {"statement", "--ref", ref});
  if (statement.exit_code != 0) return statement.exit_code;
  const StoreReply attached = ask(store, {"attach-signature", "--ref", ref, sign_payload(statement.out, key)});
  std::cout << attached.out;
  return attached.exit_code;
}

int restore(const fs::path& store, const std::vector<std::string>& words) {
  CLI::App app{"make a store from a backup", "quench artifacts restore"};
  std::string from;
  bool json = false;
  app.add_option("--from", from)->required();
  app.add_flag("--json", json);
  parse(app, words);
  std::cout << restore_store(from, store, json);
  return 0;
}

}  // namespace

std::optional<int> run_key_command(const fs::path& store, const std::vector<std::string>& words) {
  if (words.empty()) return std::nullopt;
  if (words[0] == "key") return make_key(words);
  if (words[0] == "sign") return sign(store, words);
  if (words[0] == "restore") return restore(store, words);
  return std::nullopt;
}

}  // namespace quench::coordinator
