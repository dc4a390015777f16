import Foundation
import LMoECore
import Testing

/// The built binary, and a fresh directory to run it in, removed with this object.
final class Tool: Sendable {
  private let root: String
  /// Where it runs.
  var directory: String { root + "/work" }
  /// Where its output goes.
  private var streams: String { root + "/streams" }

  init() throws {
    root = FileManager.default.temporaryDirectory.appending(path: "lmoe-\(UUID())").path
    for path in [root, root + "/work", root + "/streams"] {
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }
  }

  deinit { try? FileManager.default.removeItem(atPath: root) }

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

    fileprivate init(_ arguments: [String], of tool: Tool, limit: String?) throws {
      files = ["out", "err"].map { URL(filePath: "\(tool.streams)/\(UUID()).\($0)") }
      for file in files { try Data().write(to: file) }
      let executable: URL = try #require(Tool.executable, "the binary is not there")
      if let limit {
        process.executableURL = URL(filePath: "/bin/sh")
        process.arguments = ["-c", "ulimit \(limit) && exec \"$0\" \"$@\"", executable.path] + arguments
      } else {
        process.executableURL = executable
        process.arguments = arguments
      }
      process.currentDirectoryURL = URL(filePath: tool.directory)
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
      if ended.wait(timeout: .now() + 60) == .timedOut {
        Issue.record("\(process.arguments ?? []) does not end")
        send(SIGKILL)
        ended.wait()
      }
      let texts = try files.map { String(decoding: try Data(contentsOf: $0), as: UTF8.self) }
      for file in files { try FileManager.default.removeItem(at: file) }
      return Output(
        status: process.terminationStatus, wasKilled: process.terminationReason == .uncaughtSignal,
        out: texts[0],
        err: texts[1])
    }
  }

  /// Starts a command, under a limit as the shell's `ulimit` takes it.
  func start(_ arguments: [String], limit: String? = nil) throws -> Running {
    try Running(arguments, of: self, limit: limit)
  }

  func run(_ arguments: [String], limit: String? = nil) throws -> Output {
    try start(arguments, limit: limit).wait()
  }

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

  /// All that is in the directory, hidden or not.
  func names() throws -> [String] { try FileManager.default.contentsOfDirectory(atPath: directory).sorted() }
}

/// All files under a directory, by their paths in it.
func contents(ofDirectory directory: String) throws -> [String: Data] {
  var result: [String: Data] = [:]
  for name in try FileManager.default.subpathsOfDirectory(atPath: directory) {
    result[name] = try? Data(contentsOf: URL(filePath: "\(directory)/\(name)"))
  }
  return result
}

/// A sentence without the name that was probably meant: which one is closest is tested elsewhere.
func withoutSuggestion(_ sentence: String) -> String {
  sentence.replacing(#/ \(the nearest is "[^"]*"\)/#, with: "")
    .replacing(#/; did you mean "[^"]*"\?/#, with: "")
}
