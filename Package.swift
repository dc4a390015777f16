// swift-tools-version: 6.2
import PackageDescription

/// The settings every Swift target is built with: Swift 6 mode with the upcoming features, every unsafe
/// operation marked, every warning an error.
let swiftSettings: [SwiftSetting] = [
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .enableExperimentalFeature("Lifetimes"),
  .strictMemorySafety(),
  .treatAllWarnings(as: .error),
]

/// Tests may import all of Foundation and touch raw memory freely.
let testSettings: [SwiftSetting] = [
  .enableUpcomingFeature("ExistentialAny"),
  .treatAllWarnings(as: .error),
]

let package = Package(
  name: "lmoe-tool",
  platforms: [.macOS(.v26)],
  products: [
    .library(name: "LMoEFormat", targets: ["LMoEFormat"]),
    .library(name: "LMoEExperts", targets: ["LMoEExperts"]),
    .library(name: "LMoERuntime", targets: ["LMoERuntime"]),
    .executable(name: "lmoe-tool", targets: ["lmoe-tool"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2")
  ],
  targets: [
    .systemLibrary(name: "CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"])]),
    .target(
      name: "CLMoEKernels",
      cSettings: [.unsafeFlags(["-O2"], .when(configuration: .debug))]),
    // BLAS and LAPACK, loaded at run time when they are first needed (Debian: libopenblas0-pthread).
    .target(name: "CLAPACK"),
    .target(name: "LMoECore", dependencies: ["CLMoEKernels"], swiftSettings: swiftSettings),
    .target(
      name: "LMoEFormat", dependencies: ["LMoECore", "CLMoEKernels", "CZstd"],
      swiftSettings: swiftSettings),
    .target(
      name: "LMoEExperts", dependencies: ["LMoEFormat", "LMoECore", "CLMoEKernels", "CLAPACK"],
      swiftSettings: swiftSettings),
    .target(
      name: "LMoERuntime", dependencies: ["LMoEExperts", "LMoEFormat", "LMoECore", "CLMoEKernels"],
      swiftSettings: swiftSettings),
    .executableTarget(
      name: "lmoe-tool",
      dependencies: [
        "LMoERuntime", "LMoEExperts", "LMoEFormat", "LMoECore", "CLMoEKernels",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      swiftSettings: swiftSettings),
    .testTarget(name: "LMoECoreTests", dependencies: ["LMoECore"], swiftSettings: testSettings),
    .testTarget(
      name: "LMoEFormatTests", dependencies: ["LMoEFormat", "LMoECore"],
      swiftSettings: testSettings),
    .testTarget(
      name: "LMoEExpertsTests", dependencies: ["LMoEExperts", "LMoEFormat", "LMoECore"],
      swiftSettings: testSettings),
    .testTarget(
      name: "LMoERuntimeTests",
      dependencies: ["LMoERuntime", "LMoEExperts", "LMoEFormat", "LMoECore", "CLMoEKernels"],
      swiftSettings: testSettings),
    .testTarget(
      name: "ToolTests", dependencies: ["lmoe-tool", "LMoERuntime", "LMoEFormat", "LMoECore"],
      exclude: ["Snapshots"],
      swiftSettings: testSettings),
  ],
  swiftLanguageModes: [.v6]
)

// Fuzz/run.sh sets it. The flags of the sanitizers are on its command line: they are for all modules.
if Context.environment["LMOE_FUZZ"] != nil {
  package.targets.append(
    .executableTarget(
      name: "FuzzFormats", dependencies: ["LMoEFormat", "LMoECore"], path: "Fuzz", exclude: ["run.sh"],
      swiftSettings: swiftSettings + [.enableExperimentalFeature("Extern")]))
}
