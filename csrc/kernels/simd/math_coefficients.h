// Printed by tools/fit_math.py, which says what each table approximates. Lowest power first; the
// error is the fit's, relative to the function that the table ends up in.
#pragma once
#include "kernels/simd/vec.h"

namespace gradsmith::kernels::GS_ISA {
namespace {

template <class T>
struct MathCoefficients;
template <>
struct MathCoefficients<float> {
  // error 2^-32.0
  static constexpr float exp[] = {0.5f,           0.166666672f,   0.041666355f,
                                  0.00833327323f, 0.00139410631f, 0.000199143033f};
  // error 2^-36.6
  static constexpr float log[] = {0.666666627f, 0.400003314f, 0.285374939f, 0.235791147f};
  // error 2^-29.6
  static constexpr float erf[] = {0.128379166f,   -0.37612626f,     0.112835854f,   -0.0268538129f,
                                  0.00518832821f, -0.000801019836f, 7.85387747e-05f};
  // error 2^-29.9
  static constexpr float tanh[] = {-0.333333194f, 0.133326128f, -0.0538548492f, 0.0210812744f,
                                   -0.00628685951f};
  // error 2^-28.0
  static constexpr float sin[] = {-0.166666552f, 0.00833217893f, -0.000195172703f};
  // error 2^-33.2
  static constexpr float cos[] = {0.0416666456f, -0.00138873747f, 2.44391213e-05f};
  // error 2^-28.4
  static constexpr float mills_scale = 4.55172396f, mills_offset = 1.2758621f;
  static constexpr float mills_first = 0.712936044f, mills_second = -0.295950085f;
  static constexpr float mills_rest[] = {
      0.0119830612f,   0.0244536214f, 0.00187397189f,  -0.00269379932f,  -0.00107358687f,
      4.42072524e-05f, 0.0002171089f, 8.18533517e-05f, -1.67191374e-05f, -1.59528572e-05f};
};
template <>
struct MathCoefficients<double> {
  // error 2^-61.7
  static constexpr double exp[] = {0.5,
                                   0.16666666666666677,
                                   0.041666666666666699,
                                   0.0083333333333215631,
                                   0.001388888888886657,
                                   0.00019841269886327684,
                                   2.4801587361056546e-05,
                                   2.7557243979518931e-06,
                                   2.7557242352087526e-07,
                                   2.5109125399834951e-08,
                                   2.092456394921447e-09};
  // error 2^-58.5
  static constexpr double log[] = {0.66666666666667307, 0.39999999999436947, 0.2857142873815734,
                                   0.22222198958093378, 0.18183546165083472, 0.15314479279066232,
                                   0.14791944730289641};
  // error 2^-62.7
  static constexpr double erf[] = {
      0.12837916709551259,     -0.37612638903183748,    0.11283791670954857,
      -0.026866170645072907,   0.0052239776247809651,   -0.00085483269787477016,
      0.00012055331037093965,  -1.4925593511401867e-05, 1.6460972886829844e-06,
      -1.6350025936209924e-07, 1.4657884472637242e-08,  -1.1365683248456953e-09,
      5.9452900310372854e-11};
  // error 2^-58.0
  static constexpr double sin[] = {-0.16666666666666632,    0.0083333333333225103,
                                   -0.00019841269829862302, 2.7557313705598632e-06,
                                   -2.5050759662540731e-08, 1.5896858745557692e-10};
  // error 2^-64.0
  static constexpr double cos[] = {0.041666666666666616,   -0.0013888888888876074,
                                   2.480158729053654e-05,  -2.755731462221868e-07,
                                   2.0875756326286287e-09, -1.136120922545395e-11};
  // error 2^-54.1
  static constexpr double mills_p[] = {0.5,
                                       0.77488948210042063,
                                       0.5940690001973189,
                                       0.28934899477226256,
                                       0.097706744424664718,
                                       0.023624698350292166,
                                       0.00408979876949151,
                                       0.00049048779060120111,
                                       3.7260566661129985e-05,
                                       1.3859862908112138e-06};
  // error 2^-54.1
  static constexpr double mills_q[] = {1.0,
                                       2.3476635250036963,
                                       2.5613024809554412,
                                       1.7144514524067,
                                       0.78208475270615896,
                                       0.25497928494266042,
                                       0.060440859548946943,
                                       0.010345003611904583,
                                       0.0012329447169061058,
                                       9.3398389919429849e-05,
                                       3.4741524248086267e-06};
};

}  // namespace
}  // namespace gradsmith::kernels::GS_ISA
