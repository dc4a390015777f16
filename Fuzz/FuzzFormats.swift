import LMoECore

#if canImport(Glibc)
  private import Glibc
#else
  private import Darwin
#endif

/// What the bytes that libFuzzer makes are taken for; the environment variable `LMOE_FUZZ_ENTRY` chooses.
enum FuzzEntry: String {
  /// A bundle with all checksums on, in either form; those of the compact form are set right before.
  case bundle
  /// A bundle in compact form with all checksums off: damage reaches every parser and decoder.
  case unchecked
  /// A safetensors file.
  case safetensors
  /// A JSON text.
  case json

  /// The one that this process fuzzes.
  static let chosen: FuzzEntry = {
    guard let text = unsafe getenv("LMOE_FUZZ_ENTRY"),
      let entry = unsafe FuzzEntry(rawValue: String(cString: text))
    else { fatalError("LMOE_FUZZ_ENTRY must be bundle, unchecked, safetensors or json") }
    return entry
  }()

  func run(_ input: [UInt8]) {
    switch self {
    case .bundle: fuzzBundle(input)
    case .unchecked: fuzzUncheckedBundle(input)
    case .safetensors: fuzzSafetensors(input)
    case .json: fuzzJSON(input)
    }
  }
}

/// What libFuzzer calls with each input.
@c(LLVMFuzzerTestOneInput)
public func fuzzOneInput(_ data: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  FuzzEntry.chosen.run(unsafe Array(UnsafeBufferPointer(start: data, count: count)))
  return 0
}

@_extern(c, "LLVMFuzzerRunDriver")
func runDriver(
  _ count: UnsafeMutablePointer<CInt>,
  _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>>,
  _ target: @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt
) -> CInt

/// The process's `main`, by the name that SwiftPM's linker flags give it.
///
/// `FuzzFormats compact FILE…` writes FILE.compact beside each bundle; all else is libFuzzer's.
@c(FuzzFormats_main)
public func fuzzMain(
  _ count: CInt, _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>
) -> CInt {
  if count > 1, let word = unsafe arguments[1], unsafe strcmp(word, "compact") == 0 {
    for index in 2..<Int(count) {
      if let path = unsafe arguments[index] { unsafe writeCompactForm(ofFileAt: String(cString: path)) }
    }
    return 0
  }
  var (count, arguments) = unsafe (count, arguments)
  return unsafe runDriver(&count, &arguments, fuzzOneInput)
}

private func writeCompactForm(ofFileAt path: String) {
  let system = PosixFileSystem()
  do throws(FileError) {
    let file = try system.open(path, .read)
    let bytes = try file.bytes(at: 0, count: Int(file.size()))
    try system.open(path + ".compact", .createNew).write(CompactForm.compact(bytes), at: 0)
  } catch {
    fatalError("\(error)")
  }
}

/// A property that every input must have.
func require(_ holds: Bool, _ property: @autoclosure () -> String) {
  if !holds { fatalError(property()) }
}
