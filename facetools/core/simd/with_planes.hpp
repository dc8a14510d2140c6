// Dispatch on the number of byte planes per code. Included by every SIMD level.
#pragma once

namespace facetools {

namespace {

constexpr int max_planes = 32;  // 256 attributes

// Calls body.template operator()<n>() with n = planes for 1 to 8 planes, so that the compiler unrolls the loops over
// planes and keeps a code in registers. Calls it with n = 0 for more planes: the number is then known at run time only.
template <class Body>
auto with_planes(int planes, const Body& body) {
  switch (planes) {
    case 1: return body.template operator()<1>();
    case 2: return body.template operator()<2>();
    case 3: return body.template operator()<3>();
    case 4: return body.template operator()<4>();
    case 5: return body.template operator()<5>();
    case 6: return body.template operator()<6>();
    case 7: return body.template operator()<7>();
    case 8: return body.template operator()<8>();
    default: return body.template operator()<0>();
  }
}

}  // namespace

}  // namespace facetools
