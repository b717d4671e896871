#include "coordinator/http/dashboard.h"

namespace quench::coordinator {
namespace {

const char* type_of(std::string_view name) {
  const std::string_view extension = name.substr(name.rfind('.') + 1);
  if (extension == "html") return "text/html; charset=utf-8";
  if (extension == "css") return "text/css; charset=utf-8";
  if (extension == "js") return "text/javascript; charset=utf-8";
  if (extension == "svg") return "image/svg+xml";
  return "application/octet-stream";
}

}  // namespace

const DashboardFile* dashboard_file(const HttpRequest& request) {
  if (request.method != "GET") return nullptr;
  std::string name;
  for (const std::string& segment : request.segments) name += (name.empty() ? "" : "/") + segment;
  if (name.empty()) name = "index.html";
  for (const DashboardFile& file : kDashboardFiles)
    if (file.name == name) return &file;
  return nullptr;
}

HttpReply dashboard_reply(const DashboardFile& file) {
  HttpReply reply;
  reply.content_type = type_of(file.name);
  reply.body = std::string(file.content);
  // Nothing from elsewhere, nothing inline, no markup made from text, in nobody's frame.
  reply.headers.emplace_back("Content-Security-Policy",
                             "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
                             "frame-ancestors 'none'; base-uri 'none'; form-action 'none'; "
                             "require-trusted-types-for 'script'; trusted-types 'none'");
  reply.headers.emplace_back("Referrer-Policy", "no-referrer");
  return reply;
}

}  // namespace quench::coordinator
