#include <cublas_v2.h>

#include <cstdio>
#include <memory>
#include <string>

#include "kernels/cuda/cuda_device.h"
#include "kernels/cuda/launch.cuh"

namespace quench::kernels::cuda {
namespace {

// What cuBLAS may use; given to it once, because with memory of its own choosing it may sum in another order.
constexpr std::size_t kBlasWorkspaceBytes = std::size_t{32} << 20;

void check_blas(cublasStatus_t status, const char* call) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw DeviceError(std::string(call) + ": " + cublasGetStatusName(status) + ": " + cublasGetStatusString(status));
}
#define QUENCH_CUBLAS_CALL(call) check_blas((call), #call)

std::string mebibytes(std::size_t bytes) { return std::to_string((bytes + (std::size_t{1} << 20) - 1) >> 20) + " MiB"; }

class CudaDevice final : public Device {
 public:
  explicit CudaDevice(int ordinal) : ordinal_(ordinal) {
    QUENCH_CUDA_CALL(cudaSetDevice(ordinal_));
    QUENCH_CUDA_CALL(cudaGetDeviceProperties(&properties_, ordinal_));
    if (properties_.major < 8)
      throw DeviceError("GPU " + std::to_string(ordinal_) + " (" + properties_.name + ") has compute capability " +
                        std::to_string(properties_.major) + "." + std::to_string(properties_.minor) +
                        "; Quench's kernels are built for 8.0 and 9.0");
    cudaStream_t stream = nullptr;
    QUENCH_CUDA_CALL(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    stream_.handle = stream;
    stream_.multiprocessors = properties_.multiProcessorCount;
    cudaFuncAttributes attributes;
    const cudaError_t runs = cudaFuncGetAttributes(&attributes, run_kernel<AddRows>);
    if (runs != cudaSuccess) {
      cudaGetLastError();
      throw DeviceError("GPU " + std::to_string(ordinal_) + " (" + properties_.name + ", compute capability " +
                        std::to_string(properties_.major) + "." + std::to_string(properties_.minor) +
                        ") cannot run this build's kernels (8.0 and 9.0): " + cudaGetErrorString(runs));
    }
    QUENCH_CUBLAS_CALL(cublasCreate(&blas_));
    QUENCH_CUBLAS_CALL(cublasSetStream(blas_, stream));
    workspace_ = allocate(kBlasWorkspaceBytes);
    QUENCH_CUBLAS_CALL(cublasSetWorkspace(blas_, workspace_, kBlasWorkspaceBytes));
    QUENCH_CUBLAS_CALL(cublasSetAtomicsMode(blas_, CUBLAS_ATOMICS_NOT_ALLOWED));
  }

  // What fails here has nobody to be told; the process ends with the device.
  ~CudaDevice() override {
    if (stream_.handle != nullptr) cudaStreamSynchronize(stream());
    if (blas_ != nullptr) cublasDestroy(blas_);
    if (workspace_ != nullptr) cudaFree(workspace_);
    if (stream_.handle != nullptr) cudaStreamDestroy(stream());
  }
  CudaDevice(const CudaDevice&) = delete;
  CudaDevice& operator=(const CudaDevice&) = delete;

  std::string description() const override {
    return std::string(properties_.name) + ", compute capability " + std::to_string(properties_.major) + "." +
           std::to_string(properties_.minor) + ", " + std::to_string(properties_.multiProcessorCount) +
           " multiprocessors, " + mebibytes(properties_.totalGlobalMem);
  }

  void* allocate(std::size_t bytes) override {
    use();
    void* memory = nullptr;
    const cudaError_t code = cudaMalloc(&memory, bytes);
    if (code == cudaErrorMemoryAllocation) {
      cudaGetLastError();
      std::size_t free = 0, total = 0;
      cudaMemGetInfo(&free, &total);
      throw DeviceMemoryError("GPU " + std::to_string(ordinal_) + " (" + properties_.name + ") has too little memory: " +
                              std::to_string(bytes) + " bytes (" + mebibytes(bytes) + ") are wanted, " +
                              std::to_string(free) + " (" + mebibytes(free) + ") of " + mebibytes(total) +
                              " are free; take a GPU with more memory, end what else runs on it, use more ranks, or "
                              "fewer or shorter sequences");
    }
    check_cuda(code, "cudaMalloc");
    return memory;
  }
  void release(void* memory) noexcept override {
    // cudaFree waits for the device by itself. An error was there before and is reported by the next call.
    if (memory != nullptr) cudaFree(memory);
  }
  std::size_t free_bytes() override {
    std::size_t free = 0, total = 0;
    QUENCH_CUDA_CALL(cudaMemGetInfo(&free, &total));
    return free;
  }

  void copy_in(void* to, std::size_t to_stride, const void* from, std::size_t from_stride, std::size_t row_bytes,
               std::size_t rows) override {
    copy(to, to_stride, from, from_stride, row_bytes, rows, cudaMemcpyHostToDevice);
  }
  void copy_out(void* to, std::size_t to_stride, const void* from, std::size_t from_stride, std::size_t row_bytes,
                std::size_t rows) override {
    copy(to, to_stride, from, from_stride, row_bytes, rows, cudaMemcpyDeviceToHost);
    wait();
  }
  void copy_within(void* to, const void* from, std::size_t bytes) override {
    if (bytes > 0) QUENCH_CUDA_CALL(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream()));
  }
  bool pin(void* host, std::size_t bytes) noexcept override {
    const bool pinned = cudaHostRegister(host, bytes, cudaHostRegisterDefault) == cudaSuccess;
    if (!pinned) cudaGetLastError();
    return pinned;
  }
  void unpin(void* host) noexcept override { cudaHostUnregister(host); }
  void set_zero(void* memory, std::size_t bytes) override {
    if (bytes > 0) QUENCH_CUDA_CALL(cudaMemsetAsync(memory, 0, bytes, stream()));
  }
  void wait() override { QUENCH_CUDA_CALL(cudaStreamSynchronize(stream())); }

  // Row-major y = x wᵀ is column-major yᵀ = w xᵀ.
  void multiply_tf32(ConstMatrixView x, ConstMatrixView w, MatrixView y) override {
    use();
    const float one = 1.0f, zero = 0.0f;
    QUENCH_CUBLAS_CALL(cublasGemmEx(blas_, CUBLAS_OP_T, CUBLAS_OP_N, static_cast<int>(w.rows), static_cast<int>(x.rows),
                                    static_cast<int>(w.cols), &one, w.data, CUDA_R_32F, static_cast<int>(w.stride),
                                    x.data, CUDA_R_32F, static_cast<int>(x.stride), &zero, y.data, CUDA_R_32F,
                                    static_cast<int>(y.stride), CUBLAS_COMPUTE_32F_FAST_TF32, CUBLAS_GEMM_DEFAULT));
  }
  // Row-major out is column-major outᵀ = rightᵀ left.
  void multiply_brain(const std::uint16_t* left, const std::uint16_t* right, std::int64_t pitch, std::int64_t depth,
                      MatrixView out) override {
    use();
    const float one = 1.0f, zero = 0.0f;
    QUENCH_CUBLAS_CALL(cublasGemmEx(blas_, CUBLAS_OP_N, CUBLAS_OP_T, static_cast<int>(out.cols), static_cast<int>(out.rows),
                                    static_cast<int>(depth), &one, right, CUDA_R_16BF, static_cast<int>(pitch), left,
                                    CUDA_R_16BF, static_cast<int>(pitch), &zero, out.data, CUDA_R_32F,
                                    static_cast<int>(out.stride), CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT));
  }

#define QUENCH_LAUNCH(Kernel) \
  void launch(const Kernel& kernel, Grid grid) override { \
    use();                                                 \
    launch_on(stream_, kernel, grid);                      \
  }
  QUENCH_DEVICE_KERNELS(QUENCH_LAUNCH)
#undef QUENCH_LAUNCH

 private:
  // The device is a thread's, and another thread than the one that opened it may compute.
  void use() const { QUENCH_CUDA_CALL(cudaSetDevice(ordinal_)); }
  cudaStream_t stream() const { return static_cast<cudaStream_t>(stream_.handle); }
  void copy(void* to, std::size_t to_stride, const void* from, std::size_t from_stride, std::size_t row_bytes,
            std::size_t rows, cudaMemcpyKind kind) {
    if (row_bytes == 0 || rows == 0) return;
    use();
    if (rows == 1 || (to_stride == row_bytes && from_stride == row_bytes))
      QUENCH_CUDA_CALL(cudaMemcpyAsync(to, from, row_bytes * rows, kind, stream()));
    else
      QUENCH_CUDA_CALL(cudaMemcpy2DAsync(to, to_stride, from, from_stride, row_bytes, rows, kind, stream()));
  }

  int ordinal_;
  cudaDeviceProp properties_{};
  Stream stream_;
  cublasHandle_t blas_ = nullptr;
  void* workspace_ = nullptr;
};

}  // namespace

std::unique_ptr<Device> open_cuda_device(int ordinal) {
  int count = 0;
  const cudaError_t code = cudaGetDeviceCount(&count);
  if (code != cudaSuccess) {
    cudaGetLastError();
    throw DeviceError(std::string("no GPU can be used: ") + cudaGetErrorString(code) +
                      "; is an NVIDIA driver loaded that is new enough for this build's CUDA?");
  }
  if (count == 0)
    throw DeviceError("CUDA sees no GPU here; is CUDA_VISIBLE_DEVICES empty, or did the job get no GPU?");
  if (ordinal < 0 || ordinal >= count)
    throw DeviceError("GPU " + std::to_string(ordinal) + " was asked for but CUDA sees " + std::to_string(count));
  return std::make_unique<CudaDevice>(ordinal);
}

int visible_device_count() noexcept {
  int count = 0;
  if (cudaGetDeviceCount(&count) == cudaSuccess) return count;
  cudaGetLastError();
  return 0;
}

}  // namespace quench::kernels::cuda
