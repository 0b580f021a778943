// Runs the kernels of libgradsmith_cuda on small problems, without Python: for compute-sanitizer,
// for a first look at a new card, and for timing the variants of the matrix product.
//
//     cuda_driver LIBRARY [--only FAMILY] [--repeat N] [--time] [--list]
//
// Results are compared with plain loops in double, outputs are poisoned before, what lies beside
// every array is checked after, and N runs must give the same bits. One line a case; the result is
// 0, 1 where a case failed, 77 where there is no device.
#include <dlfcn.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "runtime/cuda_abi.h"

using namespace gradsmith;
using namespace gradsmith::cuda;

namespace {

const Api* api = nullptr;
int repeats = 2, failures = 0;

[[noreturn]] void stop(const std::string& why, int status = 1) {
  std::fprintf(stderr, "cuda_driver: %s\n", why.c_str());
  std::exit(status);
}
void call(int status) {
  if (status != 0) stop(api->last_error());
}

// An array on the device, with 256 bytes on either side that nobody may change.
class Array {
 public:
  Array(DType dtype, std::size_t count)
      : dtype_(dtype), count_(count), bytes_(count * itemsize(dtype)) {
    call(api->allocate(0, bytes_ + 2 * kGuard, nullptr, &memory_));
    poison();
  }
  Array(DType dtype, const std::vector<double>& values) : Array(dtype, values.size()) {
    std::vector<unsigned char> bytes(bytes_);
    for (std::size_t i = 0; i < count_; ++i) put(bytes.data(), i, values[i]);
    call(api->copy_bytes(0, data(), bytes.data(), bytes_, CopyKind::host_to_device, nullptr,
                         nullptr));
  }
  ~Array() { api->deallocate(0, memory_); }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;

  void poison() {
    const std::vector<unsigned char> fill(bytes_ + 2 * kGuard, 0xff);
    call(api->copy_bytes(0, memory_, fill.data(), fill.size(), CopyKind::host_to_device, nullptr,
                         nullptr));
  }
  void* data() const { return static_cast<char*>(memory_) + kGuard; }
  Operand operand() const {
    Operand o{data(), dtype_, {}};
    o.strides[0] = 1;
    return o;
  }
  std::vector<unsigned char> bytes() const {
    std::vector<unsigned char> all(bytes_ + 2 * kGuard);
    call(api->copy_bytes(0, all.data(), memory_, all.size(), CopyKind::device_to_host, nullptr,
                         nullptr));
    for (std::size_t i = 0; i < kGuard; ++i)
      if (all[i] != 0xff || all[all.size() - 1 - i] != 0xff) stop("memory beside an array changed");
    return {all.begin() + kGuard, all.end() - kGuard};
  }
  std::vector<double> values() const {
    const std::vector<unsigned char> all = bytes();
    std::vector<double> v(count_);
    for (std::size_t i = 0; i < count_; ++i) v[i] = at(all.data(), i);
    return v;
  }
  std::vector<double> rounded(const std::vector<double>& values) const {
    std::vector<unsigned char> all(bytes_);
    std::vector<double> v(count_);
    for (std::size_t i = 0; i < count_; ++i) {
      put(all.data(), i, values[i]);
      v[i] = at(all.data(), i);
    }
    return v;
  }

 private:
  static constexpr std::size_t kGuard = 256;

  template <class T>
  static void put_as(unsigned char* p, std::size_t i, T v) {
    std::memcpy(p + i * sizeof(T), &v, sizeof(T));
  }
  template <class T>
  static T get_as(const unsigned char* p, std::size_t i) {
    T v;
    std::memcpy(&v, p + i * sizeof(T), sizeof(T));
    return v;
  }
  void put(unsigned char* p, std::size_t i, double v) const {
    switch (dtype_) {
      case DType::f64:
        return put_as(p, i, v);
      case DType::bf16:
        return put_as(p, i, BFloat16(float(v)).bits);
      case DType::f16:
        return put_as(p, i, Float16(float(v)).bits);
      case DType::i64:
        return put_as(p, i, std::int64_t(v));
      case DType::f32:
        return put_as(p, i, float(v));
      default:
        return put_as(p, i, std::uint8_t(v));
    }
  }
  double at(const unsigned char* p, std::size_t i) const {
    switch (dtype_) {
      case DType::f64:
        return get_as<double>(p, i);
      case DType::bf16:
      case DType::f16: {
        const auto bits = get_as<std::uint16_t>(p, i);
        BFloat16 b;
        Float16 h;
        b.bits = h.bits = bits;
        return dtype_ == DType::bf16 ? double(float(b)) : double(float(h));
      }
      case DType::i64:
        return double(get_as<std::int64_t>(p, i));
      case DType::f32:
        return get_as<float>(p, i);
      default:
        return p[i];
    }
  }

  DType dtype_;
  std::size_t count_, bytes_;
  void* memory_ = nullptr;
};

std::vector<double> numbers(std::size_t count, double low = -1, double high = 1) {
  static std::mt19937 rng(3);
  std::vector<double> v(count);
  for (double& x : v) x = std::uniform_real_distribution<double>(low, high)(rng);
  return v;
}
std::vector<double> floats(std::size_t count, double low = -1, double high = 1) {
  std::vector<double> v = numbers(count, low, high);
  for (double& x : v) x = double(float(x));
  return v;
}

// Runs `launch` again and again: the same bits each time, within `bound` (times 1 + |want|).
void check(const std::string& name, Array& out, const std::vector<double>& want, double bound,
           const std::function<int()>& launch) {
  std::vector<unsigned char> first;
  bool same = true;
  for (int r = 0; r < repeats; ++r) {
    out.poison();
    call(launch());
    call(api->synchronize(0));
    std::vector<unsigned char> now = out.bytes();
    if (first.empty()) first = now;
    same = same && first == now;
  }
  const std::vector<double> got = out.values();
  double worst = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    const double error = std::abs(got[i] - want[i]) / (1 + std::abs(want[i]));
    worst = std::isnan(error) ? INFINITY : std::max(worst, error);
  }
  const bool good = same && worst <= bound;
  failures += !good;
  std::printf("%s: %s, error %.2g of %.2g%s\n", name.c_str(), good ? "ok" : "FAILED", worst, bound,
              same ? "" : ", runs differ");
  std::fflush(stdout);
}

// ---- Matrix products ----------------------------------------------------------------------------

struct Product {
  const char* name;
  DType dtype;
  Float32Math math;
  GemmKernel kernel;
  double bound;  // a unit of sqrt(k)
};
std::vector<Product> products() {
  std::vector<Product> all;
  const auto with_tiles = [&](const char* name, DType dtype, Float32Math math, double bound) {
    all.push_back({name, dtype, math, GemmKernel::tile64, bound});
    all.push_back({name, dtype, math, GemmKernel::tile128, bound});
  };
  with_tiles("fma", DType::f32, Float32Math::fma, 1e-6);
  with_tiles("tf32x3", DType::f32, Float32Math::tf32x3, 1e-6);
  with_tiles("tf32", DType::f32, Float32Math::tf32, 1e-3);
  with_tiles("bf16", DType::bf16, Float32Math::fma, 2e-6);
  with_tiles("f16", DType::f16, Float32Math::fma, 2e-6);
  DeviceInfo info{};
  call(api->device_info(0, &info));
  if (info.major == 9) {
    all.push_back({"bf16", DType::bf16, Float32Math::fma, GemmKernel::wgmma, 2e-6});
    all.push_back({"f16", DType::f16, Float32Math::fma, GemmKernel::wgmma, 2e-6});
  }
  return all;
}
std::string text(const Product& p, std::int64_t m, std::int64_t n, std::int64_t k, bool a_t,
                 bool b_t) {
  const char* kernels[] = {"automatic", "tile64", "tile128", "wgmma"};
  return std::string("gemm ") + p.name + " " + kernels[int(p.kernel)] + " " + (a_t ? "T" : "N") +
         (b_t ? "T" : "N") + " " + std::to_string(m) + "x" + std::to_string(n) + "x" +
         std::to_string(k);
}
GemmArgs gemm_args(const Product& p, std::int64_t m, std::int64_t n, std::int64_t k, bool a_t,
                   bool b_t, const Array& a, const Array& b, const Array& y) {
  return {m,
          n,
          k,
          1,
          {a.data(), a_t ? 1 : k, a_t ? m : 1, 0},
          {b.data(), b_t ? 1 : n, b_t ? k : 1, 0},
          {y.data(), n, 1, 0},
          {},
          {},
          1,
          0,
          gradsmith::cuda::Activation::none,
          0,
          p.dtype,
          DType::f32,
          p.math,
          p.kernel};
}

void gemm() {
  for (const Product& p : products())
    for (bool a_t : {false, true})
      for (bool b_t : {false, true})
        for (std::int64_t size : {std::int64_t(31), std::int64_t(136)}) {
          const std::int64_t m = size, n = size + 8, k = size + 16;
          if (p.kernel == GemmKernel::wgmma && size % 8 != 0) continue;
          const std::vector<double> va = numbers(std::size_t(m * k)),
                                    vb = numbers(std::size_t(k * n));
          Array a(p.dtype, va), b(p.dtype, vb), y(DType::f32, std::size_t(m * n));
          const std::vector<double> ra = a.rounded(va), rb = b.rounded(vb);
          std::vector<double> want(std::size_t(m * n), 0.0);
          for (std::int64_t i = 0; i < m; ++i)
            for (std::int64_t j = 0; j < n; ++j)
              for (std::int64_t q = 0; q < k; ++q)
                want[std::size_t(i * n + j)] += ra[std::size_t(a_t ? q * m + i : i * k + q)] *
                                                rb[std::size_t(b_t ? j * k + q : q * n + j)];
          const GemmArgs args = gemm_args(p, m, n, k, a_t, b_t, a, b, y);
          check(text(p, m, n, k, a_t, b_t), y, want, p.bound * std::sqrt(double(k)),
                [&] { return api->gemm(0, &args, nullptr); });
        }
}

// TFLOP/s of every variant, by the host's clock around many launches.
void time_gemm() {
  for (const Product& p : products())
    for (std::int64_t size : {1024, 2048, 4096, 8192})
      for (bool a_t : {false, true})
        for (bool b_t : {false, true}) {
          const std::size_t elements = std::size_t(size * size);
          Array a(p.dtype, elements), b(p.dtype, elements), y(DType::f32, elements);
          // Ordinary numbers: power, and with it speed, depends on the bits.
          const RandomArgs random{
              RandomOp::uniform, DType::f32, y.data(), std::int64_t(elements), 1, 0, -1, 1, 0, 0};
          call(api->random(0, &random, nullptr));
          for (const Array* x : {&a, &b}) {
            CopyArgs copy{1, {std::int64_t(elements)}, x->operand(), y.operand(), 0};
            call(api->copy(0, &copy, nullptr));
          }
          const GemmArgs args = gemm_args(p, size, size, size, a_t, b_t, a, b, y);
          const auto seconds = [&](int launches) {
            const auto start = std::chrono::steady_clock::now();
            for (int i = 0; i < launches; ++i) call(api->gemm(0, &args, nullptr));
            call(api->synchronize(0));
            return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
          };
          seconds(1);
          const int launches = int(std::min(200.0, std::max(1.0, 0.05 / seconds(1))));
          const double flops = 2.0 * double(size) * double(size) * double(size);
          std::printf("%s: %.1f TFLOP/s\n", text(p, size, size, size, a_t, b_t).c_str(),
                      flops * launches / seconds(launches) / 1e12);
          std::fflush(stdout);
        }
}

// ---- The other families -------------------------------------------------------------------------

void elementwise() {
  constexpr std::size_t kCount = 1027;
  const std::vector<double> x = floats(kCount), y = floats(kCount);
  Array ax(DType::f32, x), ay(DType::f32, y), out(DType::f32, kCount), half(DType::bf16, kCount);
  std::vector<double> sums(kCount), squares(kCount);
  for (std::size_t i = 0; i < kCount; ++i) {
    sums[i] = x[i] + y[i];
    squares[i] = x[i] * x[i];
  }
  const BinaryArgs add{
      BinaryOp::add, 1, {kCount}, out.operand(), ax.operand(), ay.operand(), 0, 0, 0, 0};
  check("elementwise add", out, sums, 1e-7, [&] { return api->binary(0, &add, nullptr); });
  const UnaryArgs square{UnaryOp::square, 1, {kCount}, out.operand(), ax.operand(), 0, 0};
  check("elementwise square", out, squares, 1e-7, [&] { return api->unary(0, &square, nullptr); });
  const CopyArgs cast{1, {kCount}, half.operand(), ax.operand(), 0};
  check("elementwise cast", half, x, 1.0 / 256, [&] { return api->copy(0, &cast, nullptr); });
}

void rows() {
  constexpr std::int64_t kRows = 7, kN = 301;
  constexpr std::size_t kCount = kRows * kN;
  const std::vector<double> x = floats(kCount, -3, 3);
  Array in(DType::f32, x), out(DType::f32, kCount), sums(DType::f32, std::size_t(kRows));
  Array mean(DType::f32, std::size_t(kRows)), rstd(DType::f32, std::size_t(kRows));
  std::vector<double> soft(kCount), normed(kCount), total(kRows), running(kCount);
  for (std::size_t r = 0; r < kRows; ++r) {
    const double* row = x.data() + r * kN;
    double exps = 0, squares = 0;
    for (std::size_t i = 0; i < kN; ++i) {
      exps += std::exp(row[i]);
      total[r] += row[i];
      running[r * kN + i] = total[r];
    }
    for (std::size_t i = 0; i < kN; ++i) squares += std::pow(row[i] - total[r] / kN, 2);
    for (std::size_t i = 0; i < kN; ++i) {
      soft[r * kN + i] = std::exp(row[i]) / exps;
      normed[r * kN + i] = (row[i] - total[r] / kN) / std::sqrt(squares / kN + 1e-5);
    }
  }
  ReduceArgs sum{ReduceOp::sum, 2, 2, {kRows, kN}, in.operand(), sums.data(), nullptr, nullptr, 0};
  sum.x.strides[0] = kN;
  sum.x.strides[1] = 1;
  check("reduce sum", sums, total, 1e-5, [&] { return api->reduce(0, &sum, nullptr); });
  const CumsumArgs cumsum{DType::f32, out.data(), in.data(), kRows, kN, 1};
  check("reduce cumsum", out, running, 1e-5, [&] { return api->cumsum(0, &cumsum, nullptr); });
  const SoftmaxArgs softmax{DType::f32, false, out.data(), in.data(), nullptr, kRows, kN, 1};
  check("softmax", out, soft, 1e-6, [&] { return api->softmax(0, &softmax, nullptr); });
  const NormArgs norm{DType::f32, out.data(), mean.data(), rstd.data(), in.data(), nullptr, nullptr,
                      nullptr,    kRows,      kN,          1,           1,         1e-5};
  check("norm layer", out, normed, 1e-5, [&] { return api->norm(0, &norm, nullptr); });
}

void images() {
  constexpr std::int64_t kN = 2, kC = 3, kH = 9, kW = 11, kO = 5;
  const std::vector<double> x = floats(kN * kC * kH * kW), w = floats(kO * kC * 9);
  Array in(DType::f32, x), weights(DType::f32, w), out(DType::f32, std::size_t(kN * kO * kH * kW));
  std::vector<double> want(std::size_t(kN * kO * kH * kW), 0.0);
  for (std::int64_t n = 0; n < kN; ++n)
    for (std::int64_t o = 0; o < kO; ++o)
      for (std::int64_t p = 0; p < kH; ++p)
        for (std::int64_t q = 0; q < kW; ++q)
          for (std::int64_t c = 0; c < kC; ++c)
            for (std::int64_t t = 0; t < 9; ++t) {
              const std::int64_t i = p + t / 3 - 1, j = q + t % 3 - 1;
              if (i < 0 || i >= kH || j < 0 || j >= kW) continue;
              want[std::size_t(((n * kO + o) * kH + p) * kW + q)] +=
                  x[std::size_t(((n * kC + c) * kH + i) * kW + j)] *
                  w[std::size_t((o * kC + c) * 9 + t)];
            }
  ConvArgs conv{};
  conv.op = ConvOp::forward;
  conv.dtype = DType::f32;
  conv.n = kN, conv.c = kC, conv.h = conv.out_h = kH, conv.w = conv.out_w = kW, conv.o = kO;
  conv.kh = conv.kw = 3;
  conv.stride_h = conv.stride_w = conv.pad_h = conv.pad_w = 1;
  conv.dilation_h = conv.dilation_w = conv.groups = 1;
  conv.out = out.data(), conv.in = in.data(), conv.other = weights.data();
  check("conv forward", out, want, 1e-5, [&] { return api->conv(0, &conv, nullptr); });

  Array pooled(DType::f32, std::size_t(kN * kC * 4 * 5));
  std::vector<double> highest(std::size_t(kN * kC * 4 * 5), -INFINITY);
  for (std::int64_t plane = 0; plane < kN * kC; ++plane)
    for (std::int64_t i = 0; i < 8; ++i)
      for (std::int64_t j = 0; j < 10; ++j) {
        double& most = highest[std::size_t((plane * 4 + i / 2) * 5 + j / 2)];
        most = std::max(most, x[std::size_t((plane * kH + i) * kW + j)]);
      }
  PoolArgs pool{};
  pool.op = PoolOp::max;
  pool.dtype = DType::f32;
  pool.planes = kN * kC, pool.h = kH, pool.w = kW, pool.out_h = 4, pool.out_w = 5;
  pool.kernel_h = pool.kernel_w = pool.stride_h = pool.stride_w = 2;
  pool.dilation_h = pool.dilation_w = 1;
  pool.out = pooled.data(), pool.in = in.data();
  check("pool max", pooled, highest, 0, [&] { return api->pool(0, &pool, nullptr); });
}

void index() {
  constexpr std::size_t kKeys = 5000;
  std::vector<double> keys = numbers(kKeys, 0, 100);
  for (double& k : keys) k = std::floor(k);
  std::vector<double> want = keys;
  std::sort(want.begin(), want.end());
  Array in(DType::i64, keys), sorted(DType::i64, kKeys), order(DType::i64, kKeys);
  Array spare_a(DType::i64, kKeys), spare_b(DType::i64, kKeys);
  Array counts(DType::i64, std::size_t(sort_counts(kKeys)));
  const auto i64 = [](const Array& x) { return static_cast<std::int64_t*>(x.data()); };
  const SortKeysArgs sort{i64(in),      i64(sorted), i64(order), i64(spare_a),
                          i64(spare_b), i64(counts), kKeys,      100};
  check("index sort", sorted, want, 0, [&] { return api->sort_keys(0, &sort, nullptr); });

  const std::vector<double> table = floats(100 * 6);
  Array source(DType::f32, table), out(DType::f32, kKeys * 6);
  std::vector<double> taken(kKeys * 6);
  for (std::size_t i = 0; i < kKeys * 6; ++i)
    taken[i] = table[std::size_t(keys[i / 6]) * 6 + i % 6];
  const TakeRowsArgs take{out.data(), source.data(), i64(in), kKeys, 6, 100, 4};
  check("index take_rows", out, taken, 0, [&] { return api->take_rows(0, &take, nullptr); });
}

void optim() {
  constexpr std::size_t kCount = 1500;
  const std::vector<double> g = floats(kCount), before = floats(kCount);
  Array grad(DType::f32, g), start(DType::f32, before), param(DType::f32, kCount);
  std::vector<double> want(kCount);
  for (std::size_t i = 0; i < kCount; ++i) want[i] = before[i] - 0.5 * g[i];
  StepTensor tensor{{param.data(), grad.data(), nullptr, nullptr, nullptr}, std::int64_t(kCount)};
  StepArgs step{};
  step.op = StepOp::sgd;
  step.dtype = DType::f32;
  step.tensors = &tensor;
  step.tensor_count = 1;
  step.numbers.lr = 0.5;
  const CopyArgs copy{1, {kCount}, param.operand(), start.operand(), 0};
  check("optim sgd", param, want, 1e-6, [&] {
    const int status = api->copy(0, &copy, nullptr);
    return status ? status : api->optimizer_step(0, &step, nullptr);
  });
}

struct Family {
  const char* name;
  void (*run)();
};
constexpr Family kFamilies[] = {{"gemm", gemm},   {"elementwise", elementwise},
                                {"rows", rows},   {"images", images},
                                {"index", index}, {"optim", optim}};

}  // namespace

int main(int argc, char** argv) {
  std::string only;
  bool timed = false;
  if (argc < 2) stop("give the path of libgradsmith_cuda");
  for (int i = 2; i < argc; ++i) {
    const std::string option = argv[i];
    if (option == "--list") {
      for (const Family& family : kFamilies) std::printf("%s\n", family.name);
      return 0;
    }
    if (option == "--time") {
      timed = true;
    } else if (i + 1 < argc && option == "--only") {
      only = argv[++i];
    } else if (i + 1 < argc && option == "--repeat") {
      repeats = std::max(1, std::atoi(argv[++i]));
    } else {
      stop("there is no option " + option);
    }
  }
  void* library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  if (!library) stop(dlerror());
  auto* entry = reinterpret_cast<ApiFn*>(dlsym(library, "gradsmith_cuda_api"));
  api = entry ? entry() : nullptr;
  if (!api || api->version != kAbiVersion) stop("the library belongs to another version");
  if (api->device_count() == 0) stop(api->last_error(), 77);
  bool known = only.empty();
  for (const Family& family : kFamilies)
    if (only.empty() || only == family.name) {
      known = true;
      timed ? time_gemm() : family.run();
      if (timed) break;
    }
  if (!known) stop("there is no family " + only);
  if (failures) std::printf("%d case(s) failed\n", failures);
  return failures ? 1 : 0;
}
