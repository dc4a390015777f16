import LMoECore

/// What a template may use up.
enum TemplateLimits {
  static let sourceBytes = 4 << 20
  static let outputBytes = 16 << 20
  static let steps = 1_000_000
  static let depth = 400
  static let range = 100_000
}

/// Runs a template once.
final class TemplateInterpreter {
  enum Flow { case onward, breakLoop, continueLoop }

  let path: String
  let date: TemplateDate
  var line = 0
  var scope = TemplateScope(parent: nil)
  var output = ""
  /// Bytes of the output that the template says are the model's.
  var generations: [Range<Int>] = []
  /// How many texts are being written to somewhere else than the output.
  private(set) var captures = 0
  private var written = 0
  private var steps = 0
  private var depth = 0
  var loopDepth = 0
  /// They may hold each other, and are emptied in the end.
  private var namespaces: [TemplateNamespace] = []
  private var definingScopes: [TemplateScope] = []

  init(path: String, date: TemplateDate) {
    self.path = path
    self.date = date
  }

  deinit {
    for namespace in namespaces { namespace.members = TemplateDictionary() }
    for scope in definingScopes { scope.variables = [:] }
  }

  func makeNamespace() -> TemplateNamespace {
    let namespace = TemplateNamespace()
    namespaces.append(namespace)
    return namespace
  }

  /// An error at the line that is being run.
  func failure(
    _ code: TemplateError.Code, _ name: String? = nil, expected: String? = nil, found: String? = nil
  ) -> TemplateError {
    TemplateError(code, path: path, line: line, name: name, expected: expected, found: found)
  }

  func limit(_ what: String) -> TemplateError { failure(.limit, expected: what) }

  /// Accounts for work on `elements` elements or `bytes` bytes.
  func spend(elements: Int = 0, bytes: Int = 0) throws(TemplateError) {
    steps += 1 + elements / 2 + bytes / 256
    if steps > TemplateLimits.steps { throw limit("\(TemplateLimits.steps) steps") }
  }

  func nested<Result>(
    _ work: () throws(TemplateError) -> Result
  ) throws(TemplateError) -> Result {
    depth += 1
    defer { depth -= 1 }
    if depth > TemplateLimits.depth { throw limit("\(TemplateLimits.depth) levels of nesting") }
    return try work()
  }

  /// A string made of others, if it is not too long.
  func string(_ text: String) throws(TemplateError) -> TemplateValue {
    let count = text.utf8.count
    try spend(bytes: count)
    if count > TemplateLimits.outputBytes { throw limit("\(TemplateLimits.outputBytes >> 20) MiB of text") }
    return .string(text)
  }

  /// What a value is as text.
  func text(of value: TemplateValue) throws(TemplateError) -> String {
    let text = value.text
    try spend(bytes: text.utf8.count)
    return text
  }

  /// Accounts for a look into a dictionary; false for a key that is none.
  func isKey(_ value: TemplateValue) throws(TemplateError) -> Bool {
    var parts = [value]
    if case .tuple(let elements) = value { parts = elements.values }
    try spend(elements: parts.count)
    for case .string(let text) in parts { try spend(bytes: text.utf8.count) }
    return value.depth < 2
  }

  func list(_ values: [TemplateValue]) throws(TemplateError) -> TemplateValue {
    .list(try elements(values))
  }

  func elements(_ values: [TemplateValue]) throws(TemplateError) -> TemplateElements {
    try spend(elements: values.count)
    let result = TemplateElements(values)
    if result.depth > TemplateParser.maximumDepth {
      throw limit("\(TemplateParser.maximumDepth) levels of nesting")
    }
    return result
  }

  func write(_ text: String) throws(TemplateError) {
    let count = text.utf8.count
    written += count
    if written > TemplateLimits.outputBytes {
      throw limit("\(TemplateLimits.outputBytes >> 20) MiB of text")
    }
    try spend(bytes: count)
    output += text
  }

  /// What `body` writes, instead of writing it.
  func captured(_ body: () throws(TemplateError) -> Void) throws(TemplateError) -> String {
    let outer = output
    output = ""
    captures += 1
    defer {
      output = outer
      captures -= 1
    }
    try body()
    return output
  }

  /// Runs with variables of its own.
  func scoped<Result>(
    in parent: TemplateScope? = nil, _ work: () throws(TemplateError) -> Result
  ) throws(TemplateError) -> Result {
    let outer = scope
    scope = TemplateScope(parent: parent ?? outer)
    defer { scope = outer }
    return try work()
  }

  func define(_ macro: TemplateMacro) -> TemplateValue {
    definingScopes.append(scope)
    return .macro(TemplateMacroValue(macro, in: scope))
  }
}
