public import ArgumentParser
import LMoECore
public import LMoEExperts
public import LMoEFormat

/// `NAME=DIR`: an expert and where it comes from.
struct ExpertArgument: ExpressibleByArgument, Sendable {
  let name: String
  let directory: String

  init(name: String, directory: String) { (self.name, self.directory) = (name, directory) }

  init?(argument: String) {
    let text = argument.utf8
    guard let equals = text.firstIndex(of: UInt8(ascii: "=")), equals > text.startIndex else { return nil }
    name = String(decoding: text[..<equals], as: UTF8.self)
    directory = String(decoding: text[equals...].dropFirst(), as: UTF8.self)
    if directory.isEmpty { return nil }
  }
}

extension CodecPolicy: ExpressibleByArgument {}
extension Gate.Scope: ExpressibleByArgument {}
extension QuantizedType: ExpressibleByArgument {}

/// Options of commands that print a report.
struct ReportOptions: ParsableArguments {
  @Flag(name: .long, help: "Print JSON (\"schema\": 1) instead of text.")
  var json = false

  /// Prints the report in the form asked for.
  func print(_ report: JSON, _ text: () throws -> Void) rethrows {
    if json { Terminal.print(report.serialized(pretty: true).dropLast().description) } else { try text() }
  }
}

/// Options of commands that read a bundle.
struct ReadOptions: ParsableArguments {
  @Flag(name: .long, help: "Open the newest whole generation where the file is damaged or cut off.")
  var recover = false

  var bundleOptions: BundleOptions {
    var options = BundleOptions()
    options.recovers = recover
    return options
  }
}

/// Options of commands that change a bundle.
struct WriteOptions: ParsableArguments {
  @Flag(name: .long, help: "Go on where the file system has no locks; make sure nobody else writes.")
  var noLock = false

  func writerOptions(codec: CodecPolicy = .planes, progress: ProgressBar? = nil) -> BundleWriter.Options {
    var options = BundleWriter.Options()
    options.codec = codec
    options.allowsMissingLocks = noLock
    options.writerName = toolName
    if let progress { options.progress = { progress.advance($0) } }
    return options
  }
}

/// Says on stderr what was not taken from a directory.
func noteLeftOut(_ path: String, _ leftOut: [String]) {
  if !leftOut.isEmpty { note(path, ["not taken: " + listed(leftOut)]) }
}

/// Says on stderr which keys of a configuration this tool does not know.
func noteUnknownKeys(_ path: String, _ file: String, _ keys: [String]) {
  if !keys.isEmpty {
    note(path, ["\(file) has keys this tool does not know, carried as they are: \(listed(keys))"])
  }
}

/// Says something on stderr that the user should know about `path`.
func note(_ path: String, _ notes: [String]) {
  for note in notes { Terminal.complain("Note: \(path.printable): \(note.printable)") }
}

/// Names, with an end to them.
private func listed(_ names: [String]) -> String {
  names.count <= 40
    ? names.joined(separator: ", ")
    : names.prefix(40).joined(separator: ", ") + " and \(names.count - 40) more"
}
