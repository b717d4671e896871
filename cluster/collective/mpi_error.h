// MPI's return codes become our Errors here, once.
#pragma once

namespace quench::cluster {

// Throws Error(failed) "MPI_Isend: MPI_ERR_TRUNCATE: message truncated" unless `code` is MPI_SUCCESS.
void check_mpi(int code, const char* call);

}  // namespace quench::cluster

// The call's own text goes into the error.
#define QUENCH_MPI(call) ::quench::cluster::check_mpi((call), #call)
