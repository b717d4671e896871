// The page at `/` and what belongs to it: the files of coordinator/http/dashboard, in the program. They hold no data
// and need no token; what they show they ask the API for, with the user's own. Any thread.
#pragma once

#include <string_view>
#include <vector>

#include "coordinator/http/exchange.h"

namespace quench::coordinator {

struct DashboardFile {
  std::string_view name;  // "index.html"; "sub/file.js" in a folder
  std::string_view content;
};

// Made when the program is built (embed_dashboard.cmake).
extern const std::vector<DashboardFile> kDashboardFiles;

// The file that a GET asks for, `/` being index.html; null when it is none of them.
const DashboardFile* dashboard_file(const HttpRequest& request);
HttpReply dashboard_reply(const DashboardFile& file);

}  // namespace quench::coordinator
