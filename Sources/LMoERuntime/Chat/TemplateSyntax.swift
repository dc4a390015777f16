/// An expression of a template.
struct TemplateExpression: Sendable {
  indirect enum Kind: Sendable {
    case constant(TemplateConstant)
    case name(String)
    case list([TemplateExpression])
    case tuple([TemplateExpression])
    case dictionary([(key: TemplateExpression, value: TemplateExpression)])
    case attribute(TemplateExpression, String)
    case item(TemplateExpression, TemplateExpression)
    case slice(TemplateExpression, TemplateExpression?, TemplateExpression?, TemplateExpression?)
    case call(TemplateExpression, TemplateArguments)
    /// nil where a block is filtered.
    case filter(TemplateExpression?, String, TemplateArguments)
    case test(TemplateExpression, String, TemplateArguments)
    case not(TemplateExpression)
    case negative(TemplateExpression)
    case positive(TemplateExpression)
    case and(TemplateExpression, TemplateExpression)
    case or(TemplateExpression, TemplateExpression)
    case binary(TemplateExpression, String, TemplateExpression)
    case concatenation([TemplateExpression])
    case comparison(TemplateExpression, [(operation: String, value: TemplateExpression)])
    case conditional(test: TemplateExpression, then: TemplateExpression, otherwise: TemplateExpression?)
  }

  let kind: Kind
  let line: Int
  /// How many expressions stand in each other.
  let depth: Int
}

/// A value that is written out.
enum TemplateConstant: Hashable, Sendable {
  case none
  case bool(Bool)
  case integer(Int)
  case double(Double)
  case string(String)
}

/// The arguments of a call, as they are written.
struct TemplateArguments: Sendable {
  var positional: [TemplateExpression] = []
  var keywords: [(name: String, value: TemplateExpression)] = []
  /// `*values`.
  var list: TemplateExpression?
  /// `**values`.
  var dictionary: TemplateExpression?

  var all: [TemplateExpression] {
    positional + keywords.map(\.value) + [list, dictionary].compactMap { $0 }
  }
}

/// What is assigned to.
indirect enum TemplateTarget: Sendable {
  case name(String)
  case attribute(String, String)
  case tuple([TemplateTarget])
}

/// A macro's parameters and body.
struct TemplateMacro: Sendable {
  let name: String
  var parameters: [(name: String, standard: TemplateExpression?)] = []
  var body: [TemplateStatement] = []
  /// Which of `varargs`, `kwargs` and `caller` the body mentions.
  var extras: Set<String> = []
}

/// A statement of a template.
struct TemplateStatement: Sendable {
  indirect enum Kind: Sendable {
    case text(String)
    case print(TemplateExpression)
    case set(TemplateTarget, TemplateExpression)
    /// A block whose text is assigned, after filters.
    case setBlock(TemplateTarget, TemplateExpression?, [TemplateStatement])
    case conditional([(test: TemplateExpression, body: [TemplateStatement])], otherwise: [TemplateStatement])
    case loop(TemplateLoop)
    case macro(TemplateMacro)
    case call(TemplateMacro, TemplateExpression)
    case filter(TemplateExpression, [TemplateStatement])
    /// What the model says, where a template tells.
    case generation([TemplateStatement])
    /// `with`.
    case scope([(TemplateTarget, TemplateExpression)], [TemplateStatement])
    case breakLoop
    case continueLoop
  }

  let kind: Kind
  let line: Int
}

/// A `for` statement.
struct TemplateLoop: Sendable {
  let target: TemplateTarget
  let values: TemplateExpression
  let condition: TemplateExpression?
  let body: [TemplateStatement]
  let otherwise: [TemplateStatement]
}
