#include "cluster/collective/mpi_session.h"

#include <mpi.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <exception>

#include "cluster/collective/mpi_error.h"
#include "cluster/collective/mpi_transport.h"
#include "cluster/collective/peer_collective.h"

namespace quench::cluster {
namespace {

// MPI_Finalize waits for every rank; a rank that died in between must not keep this one for ever.
constexpr unsigned kFinalizeSeconds = 30;

}  // namespace

void check_mpi(int code, const char* call) {
  if (code == MPI_SUCCESS) return;
  char words[MPI_MAX_ERROR_STRING] = {};
  int length = 0;
  MPI_Error_string(code, words, &length);
  throw Error(ErrorCode::failed,
              std::string(call) + ": " + std::string(words, static_cast<std::size_t>(length)));
}

MpiSession::MpiSession()
    : exceptions_at_start_(std::uncaught_exceptions()), broken_(std::make_shared<std::atomic<bool>>(false)) {
  int provided = 0;
  QUENCH_MPI(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided));
  QUENCH_MPI(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));
  if (provided < MPI_THREAD_FUNNELED)
    throw Error(ErrorCode::bad_input,
                "this MPI library allows no threads besides MPI's own; Quench needs MPI_THREAD_FUNNELED");
  int rank = 0;
  int world = 0;
  QUENCH_MPI(MPI_Comm_rank(MPI_COMM_WORLD, &rank));
  QUENCH_MPI(MPI_Comm_size(MPI_COMM_WORLD, &world));
  rank_ = static_cast<std::uint32_t>(rank);
  world_ = static_cast<std::uint32_t>(world);
}

MpiSession::~MpiSession() {
  if (*broken_ || std::uncaught_exceptions() > exceptions_at_start_) abort(1);
  // The default action of SIGALRM ends this process, and mpirun then ends the gang.
  ::alarm(kFinalizeSeconds);
  MPI_Finalize();
  ::alarm(0);
}

std::string MpiSession::library_version() const {
  char text[MPI_MAX_LIBRARY_VERSION_STRING] = {};
  int length = 0;
  QUENCH_MPI(MPI_Get_library_version(text, &length));
  return {text, static_cast<std::size_t>(length)};
}

std::unique_ptr<Collective> MpiSession::make_collective(const CollectiveOptions& options) {
  return std::make_unique<PeerCollective>(make_mpi_transport(options, broken_), options);
}

// Not MPI_Abort: Open MPI 4.1.4's mpirun mangles the help text that MPI_Abort sends it, and crashed on it
// once in about five aborts. A rank that leaves without MPI_Finalize ends the gang just as surely.
void MpiSession::abort(int code) {
  QUENCH_CHECK(code != 0, code);
  std::fflush(nullptr);
  std::_Exit(code);
}

}  // namespace quench::cluster
