import Foundation
import LMoECore
import Testing

/// The built binary, and a fresh directory to run it in, removed with this object.
final class Tool: Sendable {
  let directory: String

  init() throws {
    directory = FileManager.default.temporaryDirectory.appending(path: "lmoe-\(UUID())").path
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: directory) }

  static let fixtures = URL(filePath: #filePath).deletingLastPathComponent()
    .appending(path: "../../fixtures").standardizedFileURL.path

  /// Beside the test bundle, wherever that was built.
  static let executable: URL? = {
    let bundles = Foundation.Bundle.allBundles.filter { $0.bundlePath.hasSuffix(".xctest") }.map(\.bundleURL)
    let starts = [Foundation.Bundle.main.bundleURL, Foundation.Bundle.main.executableURL].compactMap(\.self)
    for start in bundles + starts {
      var place = start
      while place.path.count > 1 {
        let candidate = place.appending(path: "lmoe-tool")
        var isDirectory: ObjCBool = false
        if FileManager.default.fileExists(atPath: candidate.path, isDirectory: &isDirectory),
          !isDirectory.boolValue
        {
          return candidate
        }
        place.deleteLastPathComponent()
      }
    }
    return nil
  }()

  func path(_ name: String) -> String { directory + "/" + name }

  static func adapter(_ name: String) -> String { "\(fixtures)/adapters/\(name)" }

  /// A run that has ended.
  struct Output {
    let status: Int32
    let wasKilled: Bool
    let out: String
    let err: String

    func json(sourceLocation: SourceLocation = #_sourceLocation) throws -> JSON {
      try #require(try? JSON(parsing: Array(out.utf8)), "\(out)\(err)", sourceLocation: sourceLocation)
    }
  }

  /// A run that goes on.
  final class Running {
    private let process = Process()
    private let ended = DispatchSemaphore(value: 0)
    private let files: [URL]

    fileprivate init(_ arguments: [String], in directory: String) throws {
      files = ["out", "err"].map { URL(filePath: "\(directory)/.\(UUID()).\($0)") }
      for file in files { try Data().write(to: file) }
      let executable: URL = try #require(Tool.executable, "the binary is not there")
      process.executableURL = executable
      process.arguments = arguments
      process.currentDirectoryURL = URL(filePath: directory)
      process.environment = ProcessInfo.processInfo.environment.merging(["COLUMNS": "80"]) { _, new in new }
      // Files, not pipes: nobody has to read while it runs.
      process.standardInput = FileHandle.nullDevice
      process.standardOutput = try FileHandle(forWritingTo: files[0])
      process.standardError = try FileHandle(forWritingTo: files[1])
      process.terminationHandler = { [ended] _ in ended.signal() }
      // Threads of the concurrency runtime block signals, and children inherit that.
      var (none, blocked) = (sigset_t(), sigset_t())
      sigemptyset(&none)
      pthread_sigmask(SIG_SETMASK, &none, &blocked)
      defer { pthread_sigmask(SIG_SETMASK, &blocked, nil) }
      try process.run()
    }

    func send(_ signal: Int32) { kill(process.processIdentifier, signal) }

    func wait() throws -> Output {
      ended.wait()
      let texts = try files.map { String(decoding: try Data(contentsOf: $0), as: UTF8.self) }
      for file in files { try FileManager.default.removeItem(at: file) }
      return Output(
        status: process.terminationStatus, wasKilled: process.terminationReason == .uncaughtSignal,
        out: texts[0],
        err: texts[1])
    }
  }

  func start(_ arguments: [String]) throws -> Running { try Running(arguments, in: directory) }

  func run(_ arguments: [String]) throws -> Output { try start(arguments).wait() }

  func run(_ arguments: String...) throws -> Output { try run(arguments) }

  /// Runs a command that must succeed and say nothing on stderr.
  @discardableResult
  func succeed(_ arguments: String..., sourceLocation: SourceLocation = #_sourceLocation) throws -> Output {
    let output = try run(arguments)
    #expect(
      output.status == 0 && output.err == "" && !output.wasKilled, "\(arguments): \(output)",
      sourceLocation: sourceLocation)
    return output
  }

  /// Makes `name` of the fixtures, with the experts named.
  func makeBundle(_ name: String, experts: [String] = ["math", "code"], _ options: String...) throws {
    let arguments = experts.flatMap { ["--expert", "\($0)=\(Self.adapter($0))"] }
    let output = try run(
      ["import", "--base", "\(Self.fixtures)/tiny-llama", "-o", name] + arguments + options)
    try #require(output.status == 0, "\(output.err)")
  }

  func contents(_ name: String) throws -> [UInt8] { [UInt8](try Data(contentsOf: URL(filePath: path(name)))) }

  /// The files in the directory; those of a run that goes on are hidden.
  func names() throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: directory).filter { !$0.hasPrefix(".") }.sorted()
  }
}

/// All files under a directory, by their paths in it.
func contents(ofDirectory directory: String) throws -> [String: Data] {
  var result: [String: Data] = [:]
  for name in try FileManager.default.subpathsOfDirectory(atPath: directory) {
    result[name] = try? Data(contentsOf: URL(filePath: "\(directory)/\(name)"))
  }
  return result
}
